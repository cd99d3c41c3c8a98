"""What follows a delivery by itself, tick by tick: the automation conditions evaluated as the sensor does, and what
they request run through the real I/O manager."""

import errno
import itertools
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta

import dagster as dg
import numpy as np
import pytest

from galaxy_assets.cli.status import people_said
from galaxy_assets.definitions import build_defs
from galaxy_assets.lake import connect
from galaxy_assets.lake.replay import past_ranking
from galaxy_assets.orchestration.assets import cutouts
from galaxy_assets.orchestration.automation import conditions
from galaxy_assets.orchestration.automation.deliveries import register
from galaxy_assets.orchestration.automation.lock import main_job_of
from galaxy_assets.orchestration.automation.stopped import Stopped
from galaxy_assets.orchestration.engines import in_process
from galaxy_assets.orchestration.graph import EXPLORER
from galaxy_assets.orchestration.interrupted import INTERRUPTED
from galaxy_assets.orchestration.outcome import Outcome
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.storage.bucket.objects import BucketAway, BucketError
from galaxy_assets.storage.files import NotWritten
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.locks import NoLocks
from galaxy_assets.storage.store import Conflict
from galaxy_assets.storage.tables import digest, read_table

PER_BATCH = {
    *(
        "delivered_images",
        "catalogue",
        "image_history",
        "cutouts",
        "pretrained_features",
        "artefact_evidence",
        "artefact_map",
    ),
    *("clean_galaxies", "embeddings", "pca_features", "cluster_labels", "umap", "batch_drift", "anomaly_scores"),
}
AT_ONCE = {"taken_ids", "anomaly_ranking", "similar_galaxies"}


class Automated:
    """A tiny survey that was run once with one delivery, and a sensor's cursor."""

    def __init__(self, root):
        self.root, self.layout, self.instance = root, Layout(root), dg.DagsterInstance.ephemeral()
        self.images = root / "raw/tiny/images"
        self.survey, self.defs, self.cursor = survey_files(root).named("tiny"), build_defs(root), None
        self.later = timedelta(0)

    def run(self) -> list[Outcome]:
        return list(
            in_process.run_survey(self.defs, self.survey, survey_files(self.root).known, self.instance, self.root)
        )

    def deliver(self) -> None:
        (self.root / "later").rename(self.images / "second")

    def tick(self) -> Counter:
        """A look at the drop, one evaluation, and the runs it requests; returns how often each asset's partition was
        requested."""
        register(self.survey, self.instance, self.layout)
        answer = dg.evaluate_automation_conditions(
            defs=self.defs,
            instance=self.instance,
            cursor=self.cursor,
            asset_selection=dg.AssetSelection.key_prefixes("tiny"),
            evaluation_time=datetime.now(UTC) + self.later,
        )
        self.cursor = answer.cursor
        wanted = sorted(
            (key.path[-1], partition)
            for key in self.defs.resolve_asset_graph().get_all_asset_keys()
            if key.path[0] == "tiny"
            for partition in answer.get_requested_partitions(key)
        )
        job = self.defs.resolve_implicit_global_asset_job_def()
        for partition, group in itertools.groupby(sorted(wanted, key=lambda w: str(w[1])), key=lambda w: w[1]):
            keys = [dg.AssetKey(["tiny", asset]) for asset, _ in group]
            job.execute_in_process(
                asset_selection=keys, partition_key=partition, instance=self.instance, raise_on_error=False
            )
        return Counter(wanted)

    def until_idle(self) -> Counter:
        total: Counter = Counter()
        for _ in range(12):
            requested = self.tick()
            if not requested:
                return total
            total += requested
        raise AssertionError(f"still requesting: {requested}")

    def digests(self, batch: str) -> dict[str, str]:
        files = (self.layout.lake / "tiny").glob(f"[!.]*/**/{batch}*")
        tables = [f for f in [*files, *(self.layout.lake / "tiny").glob(f"[!.]*/{batch}/*.parquet")] if f.is_file()]
        return {str(f): digest(read_table(f)) for f in tables if f.suffix == ".parquet" and "pixels" not in str(f)}


@pytest.fixture
def automated(untrained, tmp_path) -> Automated:
    return Automated(shutil.copytree(untrained, tmp_path / "data"))


def test_a_second_delivery_flows_and_the_first_is_left_alone(automated):
    assert automated.until_idle() == Counter(), "after the main job nothing starts by itself"
    before = automated.digests("first")
    assert len(before) == len(PER_BATCH)
    automated.deliver()
    ran = automated.until_idle()
    assert set(ran.values()) == {1}, "nothing is made twice"
    assert {asset for asset, partition in ran if partition is not None} == PER_BATCH
    assert {partition for _, partition in ran} == {"second", "second|imagenet", None}
    assert {asset for asset, partition in ran if partition is None} == AT_ONCE
    assert automated.digests("first") == before
    with connect_to(automated) as lake:
        ranked = lake.sql("select batch, count(*) from tiny.anomaly_ranking group by 1 order by 1").fetchall()
    assert ranked == [("first", 36), ("second", 36)]
    # what is left for the night, or for `run`: tables over the whole survey, and nothing of a batch or a model
    left = {a for o in automated.run() if o.status == "done" for a in o.assets}
    assert not left & (PER_BATCH | AT_ONCE) and not any(name.endswith(("_model", "_checkpoints")) for name in left)
    assert {"results", "evaluation_subset", "figure_09"} <= left


def connect_to(automated: Automated):
    from galaxy_assets.lake import read_model

    read_model.publish(automated.layout, EXPLORER)
    return connect(automated.root)


def test_a_corrected_image_is_made_anew_in_its_batch_alone(automated):
    automated.deliver()
    automated.until_idle()
    before = automated.digests("second")
    (automated.images / "first/first_00.png").write_bytes((automated.images / "first/first_01.png").read_bytes())
    (automated.images / "first/first_35.png").unlink()
    ran = automated.until_idle()
    assert {partition for _, partition in ran} == {"first", "first|imagenet", None}
    assert automated.digests("second") == before
    history = read_table(automated.layout.table("tiny", "image_history", "first")).to_pylist()
    states = {(row["galaxy_id"], row["state"]) for row in history}
    assert {("first_00", "replaced"), ("first_00", "present"), ("first_35", "removed")} <= states
    ranked = read_table(automated.layout.table("tiny", "anomaly_ranking"))["galaxy_id"].to_pylist()
    assert "first_35" not in ranked and "first_00" in ranked


def test_a_persons_score_ranks_anew_and_makes_nothing_else(automated):
    from galaxy_assets.storage.label_events import LabelLog

    ranking = automated.layout.table("tiny", "anomaly_ranking")
    before, then = read_table(ranking), datetime.now(UTC)
    last = read_table(ranking)["galaxy_id"].to_pylist()[-1]
    row = {"who": "ann", "kind": "score", "galaxy_id": last, "score": 5, "source": "explorer"}
    LabelLog(automated.layout.labels("tiny")).append([row])
    ran = {asset for asset, _ in automated.until_idle()}
    assert ran == {"label_events", "anomaly_model", "anomaly_scores", "anomaly_ranking", "similar_galaxies"}
    rows = {r["galaxy_id"]: r for r in read_table(ranking).to_pylist()}
    assert rows[last]["scored_by"] == "people" and rows[last]["score"] == 5
    as_it_was = past_ranking("tiny", then, automated.root)
    assert as_it_was["galaxy_id"].equals(before["galaxy_id"])
    assert np.allclose(as_it_was["score"].to_numpy(), before["score"].to_numpy(), atol=1e-9)
    assert not past_ranking("tiny", datetime.now(UTC), automated.root)["score"].equals(before["score"])


def test_scores_of_galaxies_that_come_later_are_learnt_from_once_they_are_there(automated):
    from galaxy_assets.storage.label_events import LabelLog

    row = {"who": "ann", "kind": "score", "score": 5, "source": "explorer"}
    log = LabelLog(automated.layout.labels("tiny"))
    log.append([row | {"galaxy_id": galaxy} for galaxy in ("first_03", "second_03", "nowhere")])

    def learnt() -> set[str]:
        return set(read_table(automated.layout.table("tiny", "anomaly_model"))["galaxy_id"].drop_null().to_pylist())

    automated.until_idle()
    assert learnt() & {"first_03", "second_03", "nowhere"} == {"first_03"}
    automated.deliver()
    ran = automated.until_idle()
    assert learnt() & {"first_03", "second_03", "nowhere"} == {"first_03", "second_03"}
    assert ran["anomaly_model", None] == 1 and "3 galaxies, all 5; the ranking learns from 2 of them; 1 is of" in (
        people_said(automated.survey, automated.layout)
    )
    shutil.rmtree(automated.images / "second")
    automated.until_idle()
    assert "second_03" in learnt(), "a delivery that is gone makes no model anew"


def test_a_failure_is_not_repeated_until_something_changed(automated, monkeypatch):
    automated.deliver()
    broken = automated.layout.artefact_review("tiny")
    broken.write_text("no,such,columns\n1,2,3\n")
    first = automated.until_idle()
    assert first["artefact_regions", None] == 1 and set(first.values()) == {1}
    assert not {asset for asset, _ in first} & {"clean_galaxies", "embeddings", "anomaly_ranking"}, "they wait"
    asked = []
    monkeypatch.setattr(Stopped, "_after_failure", lambda *how: asked.append(how) or "never")
    assert automated.until_idle() == automated.until_idle() == Counter() and not asked, "its records say so for ever"
    broken.unlink()
    assert {asset for asset, _ in automated.until_idle()} >= {"clean_galaxies", "anomaly_ranking"}


@pytest.mark.parametrize(("error", "times"), [(Conflict("cutouts"), 5), (PrintableError("its own"), 2)])
def test_what_was_stopped_is_asked_for_again_a_few_times_and_a_failure_is_not(automated, monkeypatch, error, times):
    automated.deliver()

    def stopped(*_):
        raise error

    with monkeypatch.context() as breaking:
        breaking.setattr(cutouts, "cut", stopped)
        ran = automated.until_idle()
    # twice in any case: what it reads was made in the same run first
    assert ran["cutouts", "second"] == times and automated.until_idle() == Counter()


def test_what_failed_for_a_full_disk_is_asked_for_again_an_hour_later_until_there_is_room(automated, monkeypatch):
    automated.deliver()
    records = []

    def full(*_):
        raise NotWritten(errno.ENOSPC, "lake/tiny/pixels is not written: the disk is full")

    def an_hour_later() -> Counter:
        automated.later += timedelta(hours=1, seconds=1)
        return automated.until_idle()

    with monkeypatch.context() as breaking:
        breaking.setattr(cutouts, "cut", full)
        assert automated.until_idle()["cutouts", "second"] == 2, "what it reads was made in the same run first"
        assert automated.until_idle() == Counter()
        for _ in range(5):
            assert an_hour_later()["cutouts", "second"] == 1
        breaking.setattr(Stopped, "_after_failure", lambda *how: records.append(how))
        assert automated.until_idle() == Counter() and not records, "it is remembered"
    assert automated.until_idle() == Counter()
    assert {("cutouts", "second"), ("embeddings", "second|imagenet")} <= an_hour_later().keys()


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def parted() -> None: ...


@dg.asset
def whole() -> None: ...


@pytest.mark.parametrize(("asset", "partition"), [(parted, "a"), (whole, None)])
@pytest.mark.parametrize(
    ("ended", "stopped"), [("report_run_canceled", "at_once"), ("report_run_failed", "at_once"), (None, None)]
)
def test_a_run_that_ended_before_its_step_did_tells_nothing_of_the_asset(asset, partition, ended, stopped):
    with dg.DagsterInstance.ephemeral() as instance:
        job = dg.Definitions([parted, whole]).resolve_implicit_global_asset_job_def()
        run = instance.create_run_for_job(
            job.get_subset(asset_selection={asset.key}),
            tags={"dagster/partition": partition} if partition else {},
            asset_selection=frozenset({asset.key}),
            status=dg.DagsterRunStatus.STARTED,
        )
        if ended:
            getattr(instance, ended)(run)
        assert Stopped(instance, asset.key)(partition) == stopped
        assert not Stopped(instance, parted.key)("b"), "of which there was no run"


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (Conflict("lake/s/t"), "at_once"),
        (dg.Failure(INTERRUPTED), "at_once"),
        (KeyboardInterrupt(), "at_once"),
        (NotWritten(errno.ENOSPC, "lake/s/t is not written: the disk is full"), "later"),
        (NoLocks(errno.ENOLCK, "lake/s cannot be locked"), "later"),
        (BucketAway("s3://bucket does not answer"), "later"),
        (BucketError("s3://bucket/lake is damaged"), "never"),
        (ValueError("its own fault"), "never"),
        (PrintableError("its own fault"), "never"),
    ],
)
@pytest.mark.parametrize("around", [False, True])
def test_a_step_that_failed_of_itself_is_told_from_one_that_was_stopped(error, again, around):
    @dg.asset
    def first() -> None:
        if around and isinstance(error, Exception):
            raise dg.Failure("not done") from error  # as what is started once more says it
        raise error

    @dg.asset(deps=[first])
    def second() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        job = dg.Definitions([first, second]).resolve_implicit_global_asset_job_def()
        job.execute_in_process(instance=instance, raise_on_error=False)
        assert Stopped(instance, first.key)(None) == again
        assert Stopped(instance, second.key)(None) == "at_once", "it did not come to its turn"


def test_a_tick_asks_once_whether_somebody_is_at_work(automated, monkeypatch):
    asked, whole = [], conditions.main_job_runs
    monkeypatch.setattr(conditions, "main_job_runs", lambda *how: (asked.append(how), whole(*how))[1])
    automated.tick()
    assert len(asked) == 1


def test_nothing_starts_before_the_first_run_or_beside_the_main_job(tmp_path, automated):
    automated.deliver()
    with main_job_of("tiny", automated.layout):
        assert automated.tick() == Counter()
        with pytest.raises(RuntimeError, match="another main job"):
            automated.run()
    assert automated.tick()
    automated.layout.table("tiny", "pca_model", "imagenet").unlink()
    assert automated.tick() == Counter()


def test_with_a_survey_file_that_was_edited_the_automation_says_so_and_requests_nothing(automated):
    automated.deliver()
    path = automated.root / "surveys/tiny.yaml"
    path.write_text(path.read_text().replace("components: 4", "components: 3"))
    with pytest.raises(Exception, match="Error while evaluating conditions") as told:  # Dagster's, around our words
        automated.tick()
    assert "tiny.yaml was edited since" in str(told.value.__cause__) and "reload it" in str(told.value.__cause__)


def test_a_new_delivery_beside_the_tables_leaves_what_was_made_of_others(automated):
    automated.until_idle()
    (automated.root / "raw/tiny/other.csv").write_text("a,b\n1,2\n")
    (automated.root / "raw/tiny/other.parquet").write_bytes(b"")
    assert automated.until_idle() == Counter(), "only the tables that the survey reads count"
    labels = automated.root / "raw/tiny/labels.csv"
    labels.write_text(labels.read_text().replace("first_00,round", "first_00,pair"))
    assert ("catalogue", "first") in automated.until_idle()
