"""A map's rows, columns, colours and filters, and that a filter reaches nothing but the lake."""

import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.explorer import view as views
from galaxy_assets.explorer.colours import CATEGORIES, coloured
from galaxy_assets.explorer.export_page import page_table, write
from galaxy_assets.explorer.send import send
from galaxy_assets.explorer.shared import Shared
from galaxy_assets.explorer.view import PRETRAINED, OpenLake, View
from galaxy_assets.lake.query import QueryError
from galaxy_assets_tests.explorer.small_lake import NAME, N, ids, turn_map_over, write_ranking, write_small_lake


@pytest.fixture(scope="module")
def view(tmp_path_factory) -> View:
    return View(OpenLake(write_small_lake(tmp_path_factory.mktemp("it's") / "data")), NAME, "imagenet")


def names(view: View, rows: np.ndarray) -> list[str]:
    return view.ids.take(pa.array(rows)).to_pylist()


def test_rows_and_columns_are_aligned_whatever_the_order_of_their_tables(view):
    assert len(view) == N - 2 and view.ids.to_pylist() == ids()[: N - 2]
    assert view.column("score").to_pylist() == pytest.approx(np.linspace(5, 0, N)[: N - 2], abs=1e-6)
    assert view.column("cluster").to_pylist() == [i // 10 for i in range(N - 2)]
    assert view.column("total_votes").to_pylist()[:4] == [10, None, 10, None]
    assert view.columns["artefact_map_x"].table == "artefact_map" and view.columns["x"].table == "umap"
    with pytest.raises(QueryError, match="no column nonsense; there are galaxy_id"):
        view.column("nonsense")


def test_the_map_of_pretrained_features_has_every_image(view):
    whole = View(view.lake, NAME, PRETRAINED)
    assert len(whole) == N and whole.columns["x"].table == "artefact_map"
    assert names(whole, whole.matching("suspect and not kept")) == ["g58", "g59"]
    assert names(whole, whole.matching("rank <= 2")) == ["g00", "g01"]


@pytest.mark.parametrize(
    "condition, found",
    [
        ("cluster = 5", ids()[50:58]),
        ("cluster = 5 and score < 0.5", ids()[54:58]),
        ("label = 'odd' and rank <= 4;", ["g01", "g03"]),
        ("merging_merger_fraction > 0.9", ["g54", "g56"]),
        ("row in (1, 7)", ["g01", "g07"]),
        ("select galaxy_id from small.anomaly_ranking order by rank desc limit 3", ["g57"]),
        ("with few as (select 'g03' as galaxy_id) select * from few", ["g03"]),
        ("human_score >= 4", ["g09"]),
        ("galaxy_id = '-- none'", []),
    ],
)
def test_a_filter_names_rows(view, condition, found):
    said = pa.table(
        {"galaxy_id": ["g09", "g10"], "human_score": [5.0, 1.0], "human_label": ["x", None], "people": [1, 1]}
    )
    assert names(view, view.matching(condition, said)) == found


@pytest.mark.parametrize(
    "condition",
    [
        "galaxy_id in (select column0 from read_csv('/etc/passwd'))",
        "galaxy_id in (from '/etc/passwd')",
        "exists (from read_text('/etc/passwd'))",
        "exists (from glob('/etc/*'))",
        "select column0 as galaxy_id from read_csv('/etc/passwd')",
        "with x as (copy (select 1) to '{lake}/x.csv') select galaxy_id from x",
        "true); attach '{out}/x.db' as x; select (true",
        "true); copy (select 1) to '{out}/x.csv'; from (select 1",
        "true) union select 1; install httpfs; --",
        "true; set enable_external_access = true",
        "getenv('HOME') <> ''",
        "galaxy_id in (from condition)",
        "cluster = ",
        "1 = 1) or (1 = 1",
        ";",
        "count(*) > 0",
    ],
)
def test_a_filter_reads_the_lake_and_does_nothing_else(view, tmp_path, condition):
    before = sorted(view.lake.layout.root.rglob("*"))
    try:
        found = view.matching(condition.format(out=tmp_path, lake=str(view.lake.layout.lake).replace("'", "''")))
    except QueryError as error:
        assert "root:" not in str(error)
    else:
        assert condition.startswith("1 = 1)") and len(found) == N - 2, "only harmless nonsense is answered"
    assert sorted(view.lake.layout.root.rglob("*")) == before and not list(tmp_path.iterdir())


def test_a_query_without_end_is_ended_and_one_without_bound_is_refused(view, monkeypatch):
    monkeypatch.setattr(view.lake.persons, "limits", views.LIMITS._replace(seconds=0.5))
    view.lake.persons.close()
    with pytest.raises(QueryError, match=r"no answer within 0.5 s"):
        view.matching(
            "(select count(*) from range(1000000000) a, range(1000000) b where a.range % 7 = b.range % 3) > 3"
        )
    assert len(view.matching("cluster = 1")) == 10, "the connection is as good as before"


def test_order_has_ties_in_the_order_of_the_map_and_nothing_last(view):
    rows = np.array([3, 1, 2, 40], np.int32)
    assert view.ordered(rows, "score", True).tolist() == [1, 2, 3, 40]
    assert view.ordered(rows, "cluster", False).tolist() == [3, 1, 2, 40]
    assert view.ordered(rows, "total_votes", False).tolist() == [2, 40, 3, 1]


def test_colours_are_names_or_bins_and_say_what_has_no_value():
    few = coloured(pa.array([3, 1, None, 3, 10], pa.int32()), numeric=True)
    assert few.names == ["1", "3", "10"] and few.counts == [1, 2, 1] and few.codes.tolist() == [1, 0, 255, 1, 2]
    words = coloured(pa.array(["b", "a", "a", None]), numeric=False)
    assert words.names == ["a", "b"] and words.codes.tolist() == [1, 0, 0, 255]
    many = coloured(pa.array([f"n{i}" for i in range(100)] + ["n7"]), numeric=False)
    assert len(many.names) == CATEGORIES and many.names[0] == "n7" and many.names[-1] == "other"
    assert many.counts[-1] == 100 - (CATEGORIES - 1)
    numbers = coloured(pa.array([None, float("nan"), *range(1000)], pa.float32()), numeric=True)
    assert numbers.names == [] and numbers.codes[:2].tolist() == [255, 255]
    assert numbers.codes[2] == 0 and numbers.codes[-1] == 63 and np.all(np.diff(numbers.codes[2:].astype(int)) >= 0)
    assert (numbers.low, numbers.high) == pytest.approx((4.995, 994.005))
    assert coloured(pa.array([True, False, None]), numeric=False).names == ["no", "yes"]
    assert coloured(pa.nulls(3, pa.float64()), numeric=True).codes.tolist() == [255] * 3


def test_a_map_that_is_not_there_says_what_makes_it(view):
    with pytest.raises(FileNotFoundError, match=r"small has no map of random yet: `galaxy-assets run small`"):
        View(view.lake, NAME, "random")


def test_a_column_that_was_read_of_a_table_before_is_not_kept_for_the_one_of_now(layout, monkeypatch):
    view = View(OpenLake(layout), NAME, "imagenet")
    ask, replaced = view.lake.ask, []

    def late(sql, *values):
        found = ask(sql, *values)
        if not replaced:
            replaced.append(sql)
            write_ranking(layout, np.linspace(0, 5, N))  # by a run, while it is read
            view.read_anew("of the new tables")
        return found

    monkeypatch.setattr(view.lake, "ask", late)
    assert view.column("rank")[0].as_py() == 1 and view.column("rank")[0].as_py() == N


def test_colours_under_the_stamp_of_new_tables_are_theirs(layout):
    shared = Shared(layout, "http://127.0.0.1:9")
    view = shared.view(NAME, "imagenet")
    before = shared.colours(view, "score")
    write_ranking(layout, np.linspace(0, 5, N))
    assert shared.colours(view, "score").codes.tolist() != before.codes.tolist()


@pytest.mark.parametrize("start", ["imagenet", PRETRAINED])
def test_rows_of_a_map_are_never_asked_of_the_one_that_replaced_it(tmp_path, start):
    layout = write_small_lake(tmp_path / "data")
    old = View(OpenLake(layout), NAME, start)
    kept = old.column("score")
    turn_map_over(layout)
    old.read_anew("of other tables")
    assert old.stale() and old.column("score") is kept, "what was read of the old map is right for its rows"
    for ask in (
        lambda: old.column("rank"),
        lambda: old.matching("rank <= 3"),
        lambda: old.matching("select 'g03' as galaxy_id"),
        lambda: page_table(old, np.array([0], np.int32)),
        lambda: write(layout.root, NAME, start, old.version, np.array([0], np.int32), "csv", tmp_path),
        lambda: send(layout.root, NAME, start, old.version, np.array([0], np.int32)),
    ):
        with pytest.raises(QueryError, match="the map was made anew; reload the page"):
            ask()
    new = View(old.lake, NAME, start)
    assert new.ids[0] == old.ids[-1] and page_table(new, np.array([0]))["galaxy_id"].to_pylist() == [new.ids[0].as_py()]
