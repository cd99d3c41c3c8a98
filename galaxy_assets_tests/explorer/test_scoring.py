"""Queues and label events as the page uses them, rankings that are kept, the worksheet, the artefact rule,
neighbours."""

import os
import time
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galaxy_assets.explorer import rankings, regions, worksheet
from galaxy_assets.explorer.export_page import KINDS, page_table, write
from galaxy_assets.explorer.ranking_panel import moved_up
from galaxy_assets.explorer.scoring import Labels, Queue, queue_rows
from galaxy_assets.explorer.view import PRETRAINED, OpenLake, View
from galaxy_assets.lake import similar
from galaxy_assets.science.artefact_regions import Region
from galaxy_assets.science.labels import standing
from galaxy_assets.science.region_review import read_review
from galaxy_assets.science.worksheet import Override
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage import similarity
from galaxy_assets.storage.artefact_review import drawn_on
from galaxy_assets.storage.files import NotWritten
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import said_of
from galaxy_assets_tests.explorer.small_lake import NAME, N, write_ranking, write_small_lake
from galaxy_assets_tests.science.test_labels import histories


def test_a_score_is_an_event_on_disk_when_it_returns_and_undo_is_another(layout, survey):
    labels = Labels(layout, survey)
    first = labels.say("ann", "g01", 4, "tidal tail")
    (event,) = LabelLog(layout.labels(NAME)).read().to_pylist()
    assert (event["event"], event["who"], event["score"], event["source"], event["note"]) == (
        first, "ann", 4, "explorer", "tidal tail",
    )  # fmt: skip
    assert event["ranking_seen"] is not None
    labels.say("bob", "g01", 0)
    assert labels.scores_by("ann") == {"g01": 4} and labels.last_by("ann")["event"] == first
    labels.undo("ann", first)
    assert labels.scores_by("ann") == {} and labels.last_by("ann") is None and labels.scores_by("bob") == {"g01": 0}
    assert [e["kind"] for e in LabelLog(layout.labels(NAME)).read().to_pylist()] == ["score", "score", "undo"]
    assert [(e["kind"], e["undone"]) for e in labels.of("g01")] == [("undo", False), ("score", False), ("score", True)]


def test_who_may_only_read_sees_scores_and_keeps_no_ranking(small_disk):
    layout = write_small_lake(small_disk / "data")
    survey = survey_files(layout.root).named(NAME)
    Labels(layout, survey).say("ann", "g01", 4)
    small_disk.read_only()
    labels = Labels(layout, survey)
    assert labels.scores_by("ann") == {"g01": 4}
    rankings.keep(layout, NAME)
    assert not rankings.folder(layout, NAME).exists() and rankings.history(layout, NAME, "g01") == []


def test_a_full_disk_does_not_keep_the_scores_shut(small_disk):
    layout = write_small_lake(small_disk / "data")
    survey = survey_files(layout.root).named(NAME)
    labels = Labels(layout, survey)
    for galaxy in ("g01", "g02", "g03"):
        labels.say("ann", galaxy, 4)
    with pytest.raises(OSError), (small_disk / "full").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert labels.log.compact() == 0 and len(labels.log.files()) == 3
    rankings.keep(layout, NAME)
    assert set(Labels(layout, survey).scores_by("ann")) == {"g01", "g02", "g03"}
    with pytest.raises(NotWritten, match="the disk is full"):
        labels.say("ann", "g04", 4)


def test_events_of_other_processes_are_seen(layout, survey):
    labels = Labels(layout, survey)
    generation = labels.generation
    assert not labels.refresh()
    LabelLog(layout.labels(NAME)).append(
        [{"who": "ann", "kind": "score", "galaxy_id": "g05", "score": 2, "source": "cli"}]
    )
    assert labels.refresh() and labels.generation > generation and labels.scores_by("ann") == {"g05": 2}
    assert labels.last_by("ann") is None, "the page takes back what was said on the page"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories().filter(bool), st.randoms())
def test_the_page_and_the_ranking_know_the_same_scores(tmp_path, survey, events, random):
    layout = Layout(tmp_path / uuid.uuid4().hex)
    random.shuffle(events)
    for start in range(0, len(events), 5):  # some files, of which each holds earlier and later events
        rows = [{name: value for name, value in e.items() if name != "recorded"} for e in events[start : start + 5]]
        LabelLog(layout.labels(NAME)).append(rows)
    labels = Labels(layout, survey)
    own = [labels.scores_by(who) for who in ("ann", "ben", "cat")]
    for row in standing(labels.log.read()).to_pylist():
        said = [scores[row["galaxy_id"]] for scores in own if row["galaxy_id"] in scores]
        assert len(said) == row["n_people"] and (not said or np.mean(sorted(said)) == row["score"])
    assert {g for scores in own for g in scores} <= set(standing(labels.log.read())["galaxy_id"].to_pylist())


def test_an_undo_of_a_slow_clock_counts_on_the_page_and_in_the_ranking(layout, survey):
    log = LabelLog(layout.labels(NAME))
    (said,) = log.append([{"who": "ann", "kind": "score", "galaxy_id": "g05", "score": 2, "source": "explorer"}])
    slow = datetime.now(UTC) - timedelta(hours=1)
    undo = {"who": "ann", "kind": "undo", "undoes": said, "galaxy_id": "g05", "source": "explorer", "time": slow}
    log.append([undo])
    labels = Labels(layout, survey)
    assert labels.scores_by("ann") == {} and labels.last_by("ann") is None and standing(log.read()).num_rows == 0


@pytest.mark.parametrize(("ahead", "holds"), [(60, True), (3 * 24 * 3600, False)])
def test_a_score_of_a_slow_clock_counts_unless_the_one_before_is_of_no_clock(layout, survey, ahead, holds):
    log = LabelLog(layout.labels(NAME))
    before = {"who": "ann", "kind": "score", "galaxy_id": "g01", "score": 5, "source": "explorer"}
    log.append([before | {"time": datetime.now(UTC) + timedelta(seconds=ahead)}])
    labels = Labels(layout, survey)
    labels.say("ann", "g01", 1)
    assert labels.scores_by("ann") == {"g01": 1 if holds else 5} == Labels(layout, survey).scores_by("ann")


def test_what_was_just_said_is_what_the_log_holds(layout, survey):
    labels = Labels(layout, survey)
    first = labels.say("ann", "g01", 4)
    labels.say("ann", "g01", 2)
    labels.undo("ann", first)
    again = Labels(layout, survey)
    assert [(e["event"], e["undone"]) for e in labels.of("g01")] == [(e["event"], e["undone"]) for e in again.of("g01")]
    assert [e["time"] for e in labels.of("g01")] == [e["time"] for e in again.of("g01")]


def test_many_scores_are_compacted_and_none_is_lost(layout, survey):
    labels = Labels(layout, survey)
    for i in range(105):
        labels.say("ann", f"g{i % N:02d}", i % 6)
    for _ in range(100):
        if len(list((layout.labels(NAME) / "events").glob("[!.]*.parquet"))) < 50:
            break
        time.sleep(0.05)
    else:
        pytest.fail("nothing was compacted")
    assert LabelLog(layout.labels(NAME)).read().num_rows == 105
    assert standing(LabelLog(layout.labels(NAME)).read()).num_rows == N


def test_queues_have_the_orders_they_are_named_after(view, survey):
    assert queue_rows(view, survey, "rank")[:3].tolist() == [0, 1, 2]
    assert queue_rows(view, survey, "acquisition")[:2].tolist() == [3, 4], "g00 to g02 were asked before"
    assert queue_rows(view, survey, "cluster", cluster=2).tolist() == list(range(20, 30))
    assert queue_rows(view, survey, "selection", selection=[9, 4]).tolist() == [9, 4]
    shuffled = queue_rows(view, survey, "random")
    assert sorted(shuffled.tolist()) == list(range(N - 2)) and shuffled.tolist() != sorted(shuffled.tolist())
    assert np.array_equal(shuffled, queue_rows(view, survey, "random"))
    published = survey.model_copy(update={"anomaly": survey.anomaly.model_copy(update={"learner": "published"})})
    gain = queue_rows(view, published, "acquisition").tolist()
    assert sorted(gain) == list(range(3, N - 2)) and gain[0] != 3, "uncertainty counts"


def test_a_queue_passes_over_what_is_scored_and_comes_back(view):
    queue = Queue(view, np.array([5, 6, 7, 8], np.int32), {"g05": 1, "g07": 0})
    assert (queue.current(), queue.done(), queue.ahead(3)) == (6, 2, [8])
    queue.scored(6)
    assert (queue.current(), queue.done()) == (8, 3)
    queue.back_to(6)
    assert (queue.current(), queue.done()) == (6, 2)
    queue.skip()
    assert queue.current() == 8, "g07 is scored"
    queue.pass_over({"g05": 1, "g06": 3, "g07": 0, "g08": 2})
    assert queue.current() is None and queue.done() == 4
    queue.back_to(40)
    assert queue.current() == 40, "also one that the queue did not have"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.permutations(range(12)).flatmap(lambda p: st.tuples(st.just(p), st.integers(1, 12))),
    st.lists(st.tuples(st.sampled_from(["score", "skip", "back"]), st.integers(0, 14)), max_size=30),
)
def test_a_queue_leaves_none_out_whatever_was_skipped_and_taken_back(view, order, done):
    rows, n = order
    queue = Queue(view, np.array(rows[:n], np.int32), {f"g{rows[0]:02d}": 1})
    for what, row in done:
        shown = queue.current()
        if what == "back":
            queue.back_to(row)
            assert queue.current() == row
            if shown != row:
                queue.skip()
                assert queue.current() == shown, "the queue goes on where it was"
        elif what == "skip":
            queue.skip()
        elif shown is not None:
            queue.scored(shown)
    queue.from_the_top()
    while (shown := queue.current()) is not None:
        queue.scored(shown)
    assert queue.done() == len(queue.rows) == len(set(queue.rows.tolist())) and {*rows[:n]} <= {*queue.rows.tolist()}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.permutations(range(12)),
    st.permutations(range(12)),
    st.integers(0, 12),
    st.lists(st.sampled_from(["score", "skip"]), max_size=12),
)
def test_a_queue_of_other_rows_goes_on_where_the_one_before_was(view, rows, others, n, done):
    queue, scored, skipped = Queue(view, np.array(rows, np.int32), {}), {}, set()
    for what in done:
        shown = queue.current()
        if what == "score":
            scored[f"g{shown:02d}"] = 1.0
            queue.scored(shown)
        else:
            skipped.add(shown)
            queue.skip()
    new, shown, seen = queue.anew(np.array(others[:n], np.int32), scored), queue.current(), []
    while (row := new.current()) is not None:
        seen.append(row)
        new.skip()
    left = [row for row in others[:n] if row not in skipped and f"g{row:02d}" not in scored and row != shown]
    assert seen == ([] if shown is None else [shown]) + left
    new.from_the_top()
    while (row := new.current()) is not None:
        new.scored(row)
    assert new.done() == len(new.rows) == len(set(new.rows.tolist())) and {*others[:n]} <= {*new.rows.tolist()}


def test_rankings_are_kept_and_compared(layout, view):
    rankings.keep(layout, NAME)
    rankings.keep(layout, NAME)
    assert rankings.previous_ranks(layout, NAME, view.ids) is None
    write_ranking(layout, np.linspace(0, 5, N))
    made = layout.table(NAME, "anomaly_ranking")
    os.utime(made, (time.time() + 5, time.time() + 5))
    before = rankings.previous_ranks(layout, NAME, view.ids)
    assert before is not None and before.tolist() == list(range(1, N - 1))
    rankings.keep(layout, NAME)
    old, new = rankings.history(layout, NAME, "g00")
    assert (old.rank, new.rank, old.score, new.score) == (1, N, 5.0, 0.0) and old.made < new.made


ranks = st.floats(1, 300).map(round) | st.just(np.nan)


@given(st.lists(st.tuples(ranks, ranks), min_size=1, max_size=200))
def test_what_moved_shows_all_that_came_and_else_what_climbed(pairs):
    now, before = np.array(pairs, float).T
    came, rows = moved_up(now, before)
    new = {i for i, (n, b) in enumerate(pairs) if n <= 100 and not b <= 100}
    assert came == len(new) and len(rows) == len(set(rows.tolist())) <= 48
    if new:
        assert set(rows.tolist()) <= new and len(rows) == min(came, 48)
    else:
        assert all(now[row] < before[row] for row in rows)


def test_a_ranking_of_a_clock_that_was_ahead_does_not_eat_the_history(layout, monkeypatch):
    monkeypatch.setattr(rankings, "_KEPT", 3)
    rankings.keep(layout, NAME)
    (kept,) = rankings.folder(layout, NAME).glob("*.parquet")
    kept.rename(kept.with_name("21260101T000000000000-0.parquet"))
    write_ranking(layout, np.linspace(0, 5, N))
    for _ in range(5):
        rankings.keep(layout, NAME)
    old, new = rankings.history(layout, NAME, "g00")
    assert (old.score, new.score) == (5.0, 0.0) and old.made < new.made


def test_what_is_said_of_a_cluster_is_the_worksheet_that_the_next_run_reads(layout, survey, view):
    clusters = worksheet.read_clusters(view, survey)
    assert [(c.number, c.n, c.description) for c in clusters][0] == (0, 10, "kind 0") and len(clusters) == 6
    assert clusters[2].exemplars[:2] == ["g20", "g21"]
    assert clusters[5].votes[0][:2] == ("merging: merger", 0.95)
    worksheet.save(view, survey, clusters[1], Override("spiral; with, commas", "odd", None))
    worksheet.save(view, survey, clusters[4], Override(None, None, True))
    clusters = worksheet.read_clusters(view, survey)
    again = {c.number: c.said for c in clusters}
    assert again[1] == Override("spiral; with, commas", "odd", None) and again[4] == Override(None, None, True)
    worksheet.save(view, survey, clusters[1], Override("elliptical", None, False))
    worksheet.save(view, survey, clusters[4], Override())
    clusters = worksheet.read_clusters(view, survey)
    again = {c.number: c.said for c in clusters}
    assert again[1] == Override("elliptical", None, False) and again[4] == Override()
    path = layout.cluster_worksheet(NAME)
    path.write_text(path.read_text() + "random,0,theirs,,,g00\n")
    worksheet.save(view, survey, clusters[1], Override())
    assert "random,0,theirs" in path.read_text(), "rows about other start weights stay"
    path.write_text("init,exemplars,label\nnosuch,g00,odd\n")
    with pytest.raises(ValueError, match="line 2: start weights 'nosuch'"):
        worksheet.save(view, survey, clusters[0], Override("x"))


def test_boxes_are_previewed_and_saved_as_a_versioned_review(layout):
    whole = View(OpenLake(layout), NAME, PRETRAINED)
    box = Region(1, -0.5, -1.0, 3.0, 1.0, 0, 0, 0.0, "drawn by ann", "accepted")
    held = regions.preview(whole, [box])
    assert held.rows.tolist() == [0, 1, 2, 3] and held.suspects == 3 and held.reasons == [("saturated", 3)]
    assert regions.read_regions(whole) == []
    first = regions.save(whole, [box], None)
    shown = regions.review_text(layout, NAME)
    second = regions.save(whole, [box, Region(2, 57.5, -1, 60, 1, 0, 0, 0.0, "drawn by ann", "rejected")], shown)
    assert first.exists() and second.exists() and first != second
    (read,) = read_review(layout.artefact_review(NAME), drawn_on(layout, NAME))
    assert (read.x0, read.y0, read.x1, read.y1) == (-0.5, -1.0, 3.0, 1.0)
    assert [r.region for r in regions.read_regions(whole)] == [1]
    regions.put_review(layout, NAME, None, regions.review_text(layout, NAME))
    assert regions.read_regions(whole) == [] and first.exists()


@pytest.mark.parametrize(
    "content", ["x0,y0\n1,2\n".encode("utf-16"), b"", b"x0,y0,x1,y1,status,map\n0,0,1,1,accepted,\n"]
)
def test_a_review_that_cannot_be_used_is_told_with_its_file(layout, content):
    whole, review = View(OpenLake(layout), NAME, PRETRAINED), layout.artefact_review(NAME)
    review.parent.mkdir(exist_ok=True)
    review.write_bytes(content)
    try:
        with pytest.raises(ValueError, match=rf"{review}.*(save it as one|delete the file)"):
            regions.review_text(layout, NAME)
            regions.read_regions(whole)
    finally:
        review.unlink()


def test_a_search_in_blocks_is_the_search_of_all(layout, survey, monkeypatch):
    for asked in (["g20"], ["g03", "g41"], ["g41", "g03", "g41"]):
        monkeypatch.setattr(similarity, "_BLOCK", 7)
        near = similar.nearest(layout, survey, "imagenet", asked, 6)
        monkeypatch.setattr(similarity, "_BLOCK", 100)
        assert near == similar.nearest(layout, survey, "imagenet", asked, 6)
        table = similar.similar(NAME, ids=asked, neighbours=6, root=layout.root)
        assert near.ids == table["neighbour_id"].to_pylist() and near.distances == table["distance"].to_pylist()
        assert near.examples == table["query_id"].to_pylist()
    with pytest.raises(ValueError, match="g59 is no clean galaxy of small: removed by the rule 'blank'"):
        similar.nearest(layout, survey, "imagenet", ["g59"], 3)
    with pytest.raises(FileNotFoundError, match="no pca_features of random start weights"):
        similar.nearest(layout, survey, "random", ["g20"], 3)


def test_people_in_an_export_are_those_whose_scores_count_as_its_description_says(layout, survey, view):
    labels = Labels(layout, survey)
    for who in ("ann", "bob"):
        labels.say(who, "g04", 5)
    event = LabelLog(layout.labels(NAME)).read().to_pylist()[0] | {"event": "c", "kind": "class", "galaxy_id": "g01"}
    LabelLog(layout.labels(NAME)).append([event | {"score": None, "label": "odd"}])
    table = page_table(view, np.array([4, 1, 50], np.int32))
    assert table["people"].to_pylist() == [2, 0, None] and table["human_label"].to_pylist() == [None, "odd", None]
    assert "0 where a class alone was given" in said_of(table.schema.field("people"))[0]


def test_exports_hold_what_is_shown_in_its_order(layout, survey, view, tmp_path):
    Labels(layout, survey).say("ann", "g04", 5)
    rows = np.array([4, 1, 50], np.int32)
    files = {k: write(layout.root, NAME, "imagenet", view.version, rows, k, tmp_path) for k in KINDS}
    table = pq.read_table(files["parquet"])
    assert table["galaxy_id"].to_pylist() == ["g04", "g01", "g50"] and table["human_score"].to_pylist() == [
        5.0,
        None,
        None,
    ]
    assert table["cluster"].to_pylist() == [0, 0, 5] and table["ra"].to_pylist() == [4.5, 1.5, 50.5]
    assert files["csv"].read_text().splitlines()[1].startswith('"g04"')
    votable = Table.read(files["vot"], format="votable")
    assert list(votable["galaxy_id"]) == ["g04", "g01", "g50"] and votable["ra"].unit == "deg"
    assert votable["ra"].meta["ucd"] == "pos.eq.ra;meta.main" and len(Table.read(files["fits"])) == 3
    assert votable["cluster"].tolist() == [0, 0, 5] and votable["queried_round"].tolist() == [None, 0, None]
    import zipfile

    from PIL import Image

    with zipfile.ZipFile(files["zip"]) as archive:
        assert archive.namelist() == [
            "galaxies.csv", "about.json", "images/00001_g04.png", "images/00002_g01.png", "images/00003_g50.png",
        ]  # fmt: skip
        with archive.open("images/00003_g50.png") as stream:
            assert np.asarray(Image.open(stream)).mean() == 50
    assert pa.types.is_floating(table["score"].type)
