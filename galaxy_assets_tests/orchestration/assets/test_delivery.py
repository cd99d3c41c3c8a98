"""The catalogue's assets: what they know of the other batches."""

from datetime import UTC, datetime

import pyarrow as pa

from galaxy_assets.orchestration.assets.delivery import absent, all_gone, history, ids_elsewhere
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import write_table


def test_ids_elsewhere_are_those_of_other_batches_but_of_duplicates(tmp_path):
    layout = Layout(tmp_path)
    source = {"reader": "image_folder", "path": "s"}
    survey = Survey.model_validate({"name": "s", "title": "t", "description": "d", "source": source})
    assert ids_elsewhere(layout, survey, "b1") == {}
    for batch, ids, problems in (
        ("b1", ["a", "b"], [None, "unreadable"]),
        ("b2", ["a#2", "c"], ["duplicate_id", None]),
        ("b3", [], []),
    ):
        columns = {"galaxy_id": ids, "sha256": [f"sha of {one}" for one in ids], "problem": problems}
        table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
        write_table(table, layout.table("s", "catalogue", batch))
    assert ids_elsewhere(layout, survey, "b1") == {"c": "sha of c"}
    assert set(ids_elsewhere(layout, survey, "b4")) == {"a", "b", "c"}


def catalogue(**sha256: str | None) -> pa.Table:
    rows = [{"galaxy_id": g, "file": f"{g}.png", "sha256": sha} for g, sha in sha256.items()]
    schema = pa.schema([(name, pa.string()) for name in ("galaxy_id", "file", "sha256")])
    return pa.Table.from_pylist(rows, schema=schema)


def test_an_image_that_was_delivered_is_never_forgotten():
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4)]
    one = history(None, catalogue(a="A", b="B", broken=None), days[0])
    two = history(one, catalogue(a="A2", b="B"), days[1])
    three = history(two, catalogue(a="A2"), days[2])
    back = history(three, catalogue(a="A2", b="B"), days[3])
    states = [[(r["galaxy_id"], r["sha256"], r["state"]) for r in table.to_pylist()] for table in (one, two, three)]
    assert states[0] == [("a", "A", "present"), ("b", "B", "present")]
    assert states[1] == [("a", "A", "replaced"), ("a", "A2", "present"), ("b", "B", "present")]
    assert states[2] == [("a", "A", "replaced"), ("a", "A2", "present"), ("b", "B", "removed")]
    b = back.to_pylist()[-1]
    assert (b["state"], b["first_seen"], b["last_seen"]) == ("present", days[0], days[3])
    assert [row["state"] for row in all_gone(back).to_pylist()] == ["replaced", "removed", "removed"]


def test_labels_without_an_image_are_told_with_the_reason():
    labelled = pa.table({"galaxy_id": ["a", "b", "a"], "label": ["x", "y", "z"]})
    rows = {(r["galaxy_id"], r["label"]): r["reason"] for r in absent(labelled, catalogue(a="A")).to_pylist()}
    assert set(rows) == {("b", "y"), ("a", "z")}
    assert "no image" in rows["b", "y"] and "more than once" in rows["a", "z"]
