"""What is said of the columns of tables: every column of the small world, where it is found, and that it changes
nothing that is compared."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galaxy_assets.orchestration.columns import described, of_column, of_schema, schema_of, shared
from galaxy_assets.orchestration.declaration import Result, SurveyContext, survey_asset
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.orchestration.io_manager import ParquetLake
from galaxy_assets.orchestration.resources import LAKE, TABLES, Lake
from galaxy_assets.storage.label_events import EVENTS, LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import digest, read_table, said_of, write_table

DECLARED = {asset.name: asset.columns for asset in ASSETS.values() if asset.name != "recipe_trials"}
DESCRIBED = {"x": ("how far it is", "pix"), "*_fraction": "a share, 0 to 1"}


OF_LARGE_SURVEYS = {("cluster_model", "fitted_on")}
"""Columns of models that are fitted on a sample, which the tiny survey has not."""


def files(root: Path) -> dict[str, Path]:
    """One Parquet file of every table of the tiny survey."""
    lake = Layout(root).lake / "tiny"
    found = {}
    for path in sorted(lake.rglob("[!.]*.parquet")):
        found.setdefault(path.relative_to(lake).parts[0].removesuffix(".parquet"), path)
    return {name: path for name, path in found.items() if name != "pixels"}


def test_every_column_of_every_table_says_what_it_holds(world):
    from astropy.units import Unit

    tables = files(world.root)
    assert set(tables) == {*DECLARED, "deliveries"}
    for name, path in tables.items():
        for field in pq.read_schema(path):
            description, unit = said_of(field)
            assert description, f"{name}.{field.name} has no description in {path}"
            assert Unit(unit).to_string() == unit, f"{name}.{field.name}: unit {unit!r} is not as astropy writes it"


def test_nothing_is_described_that_is_not_there(world):
    for name, path in files(world.root).items():
        there, said = pq.read_schema(path).names, DECLARED.get(name, {})
        for column in said:
            matches = [other for other in there if fnmatchcase(other, column)]
            assert matches or column == "*" or (name, column) in OF_LARGE_SURVEYS, f"{name} has no column {column}"


def test_units_are_where_pyarrow_finds_them(world):
    schema = pq.read_schema(Layout(world.root).table("tiny", "cutouts", "first"))
    assert schema.field("box_x0").metadata[b"unit"] == b"pix"
    assert schema.field("box_x0").metadata[b"description"].startswith(b"left edge of the box")
    assert b"unit" not in schema.field("outcome").metadata


def test_astropy_takes_units_as_the_documentation_says(world):
    page = (Path(__file__).parents[2] / "docs/lineage.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for name, column, unit in [("cutouts/first", "contour_area", "pix2"), ("catalogue/first", "ra", "deg")]:
        path, space = Layout(world.root).lake / "tiny" / f"{name}.parquet", {}
        exec(block.replace("data/lake/demo_optical/anomaly_ranking.parquet", str(path)), space)
        sky = space["sky"]
        assert str(sky[column].unit) == unit and sky["galaxy_id"].unit is None
        assert sky[column].description == said_of(pq.read_schema(path).field(column))[0]


def test_a_column_is_described_by_its_name_before_any_pattern():
    columns = {"*_votes": "votes", "total_votes": ("all votes", "s"), "*": "something"}
    assert of_column(columns, "total_votes") == ("all votes", "s")
    assert of_column(columns, "bar_votes") == ("votes", "") and of_column(columns, "other") == ("something", "")
    assert of_column({}, "galaxy_id") == ("", "") and of_column(shared("galaxy_id"), "galaxy_id")[0]


def test_descriptions_stay_in_the_file(tmp_path):
    plain = pa.table({"x": [1.0, 2.0], "a_fraction": [0.5, None], "other": ["a", "b"]})
    table = described(plain, DESCRIBED)
    assert of_schema(table.schema) == {"x": DESCRIBED["x"], "a_fraction": ("a share, 0 to 1", ""), "other": ("", "")}
    assert digest(table) == digest(plain) and table.equals(plain)
    write_table(table, tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert read.equals(plain) and all(field.metadata is None for field in read.schema)
    # another description of what was read is no trace of the first
    assert said_of(described(read, {"other": "a letter"}).schema.field("x")) == ("", "")


def test_what_an_asset_makes_does_not_depend_on_what_its_inputs_say(world, tmp_path):
    """The same input with and without descriptions gives one data version, also where columns of it are passed on."""

    @survey_asset("2_cutouts", paper="0", columns=DESCRIBED)
    def source(context: SurveyContext) -> Result:
        "Not run: its table is put there."
        raise AssertionError

    @survey_asset("2_cutouts", paper="0", reads=["source"], columns={"x": "the same"})
    def picked(context: SurveyContext, source: pa.Table) -> Result:
        "A column of its input."
        return Result(source.select(["x"]))

    plain, versions, said = pa.table({"x": [1.0, 2.0], "other": [1, 2]}), [], []
    for name, table in [("bare", plain), ("told", described(plain, DESCRIBED))]:
        layout = Layout(tmp_path / name)
        write_table(table, layout.table("tiny", "source"))
        known = {"tiny": world.survey}
        resources = {LAKE: Lake(root=str(layout.root)), TABLES: ParquetLake(root=str(layout.root))}
        run = dg.materialize(
            [asset.of(world.survey, known) for asset in (source, picked)],
            selection=[dg.AssetKey(["tiny", "picked"])],
            resources=resources,
        )
        (event,) = run.get_asset_materialization_events()
        versions.append((event.materialization.tags or {})["dagster/data_version"])
        said.append(said_of(pq.read_schema(layout.table("tiny", "picked")).field("x")))
    assert versions[0] == versions[1] == digest(plain.select(["x"]))
    assert said == [("the same", "")] * 2


@pytest.mark.parametrize("name", ["cutouts", "anomaly_ranking", "figure_08"])
def test_the_ui_shows_them(world, name):
    key = dg.AssetKey(["tiny", name])
    metadata = world.instance.get_latest_materialization_event(key).asset_materialization.metadata
    shown = {column.name: column for column in metadata["dagster/column_schema"].value.columns}
    table = pq.read_schema(files(world.root)[name])
    assert list(shown) == table.names
    for column in shown.values():
        description, unit = said_of(table.field(column.name))
        assert column.description == (f"{description} [{unit}]" if unit else description)
        assert column.type == str(table.field(column.name).type) and column.tags.get("unit", "") == unit
    declared = world.defs.resolve_asset_graph().get(key).metadata["dagster/column_schema"].columns
    assert {column.name for column in declared} == set(table.names)


def test_a_table_without_descriptions_is_shown_without():
    (shown,) = schema_of({}, pa.table({"x": [1]})).columns
    assert shown.description is None and shown.type == "int64"


def test_events_say_what_they_hold_also_after_a_merge(tmp_path):
    log = LabelLog(tmp_path)
    for score in (1, 2):
        log.append([{"who": "ada", "kind": "score", "galaxy_id": "g", "score": score, "source": "cli"}])
    # one file as it was before columns were described
    old = log.files()[0]
    write_table(read_table(old), old)
    assert log.compact() == 2
    (merged,) = log.files()
    assert of_schema(pq.read_schema(merged)) == of_schema(EVENTS) and read_table(merged)["score"].to_pylist() == [1, 2]
