"""The rule over a small graph of its own: a table per batch, a model fitted to them, what applies it, and a sum."""

import shutil
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pyarrow as pa
import pytest

from galaxy_assets.orchestration import external
from galaxy_assets.orchestration.automation.outdated import NEVER_MADE, Outdated
from galaxy_assets.orchestration.declaration import FITTED_ON, TRAINED_ON, Result, SurveyContext, survey_asset
from galaxy_assets.orchestration.external import ARTEFACT_REVIEW, OTHER_CHECKPOINTS
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.orchestration.resources import resources
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.source import Source
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import Origin, origin, with_origin
from galaxy_assets.storage.tables import read_table, write_table
from galaxy_assets.storage.trials import TRIALS

SURVEY = Survey(name="small", title="Small", description="", source=Source(reader="image_folder", path="small"))
BATCHES = ["b1", "b2"]


class Small(NamedTuple):
    """The graph at one version of its code, over a data folder; `numbers` is what each batch delivers."""

    root: Path
    instance: dg.DagsterInstance
    numbers: dict[str, int]
    code: str = "1"

    def assets(self) -> list[dg.AssetsDefinition]:
        @survey_asset("1_delivery", paper="0", by="batch", version=self.code)
        def delivered(context: SurveyContext) -> Result:
            n = self.numbers[context.batch] * (1 if self.code == "1" else -1)
            return Result(pa.table({"batch": [context.batch], "n": [n]}))

        @survey_asset("4_representation", paper="0", reads={"delivered": TRAINED_ON})
        def trained(context: SurveyContext, delivered: pa.Table) -> Result:
            return Result(pa.table({"n": [max(delivered["n"].to_pylist())]}))

        @survey_asset("6_structure", paper="0", reads={"delivered": FITTED_ON, "trained": {}})
        def fitted(context: SurveyContext, delivered: pa.Table, trained: pa.Table) -> Result:
            return Result(pa.table({"n": [sum(delivered["n"].to_pylist())]}))

        @survey_asset("6_structure", paper="0", by="batch", reads=["delivered", "fitted"])
        def applied(context: SurveyContext, delivered: pa.Table, fitted: pa.Table) -> Result:
            return Result(pa.table({"n": [delivered["n"][0].as_py() + fitted["n"][0].as_py()]}))

        @survey_asset("8_results", paper="0", reads=["applied"], files=[ARTEFACT_REVIEW])
        def summed(context: SurveyContext, applied: pa.Table) -> Result:
            return Result(pa.table({"n": [sum(applied["n"].to_pylist())]}))

        return [asset.of(SURVEY, {}) for asset in (delivered, trained, fitted, applied, summed)]

    def defs(self) -> dg.Definitions:
        return dg.Definitions(self.assets(), resources=resources(self.root))

    def make(self, asset: str, batch: str | None = None) -> None:
        job = self.defs().resolve_implicit_global_asset_job_def()
        key = dg.AssetKey(["small", asset])
        assert job.execute_in_process(asset_selection=[key], partition_key=batch, instance=self.instance).success

    def reasons(self, follow=None, batches=BATCHES) -> dict[str, str]:
        graph = self.defs().resolve_asset_graph()
        rule = Outdated(graph, SURVEY, {}, Layout(self.root), batches, follow)
        found = {}
        for key in (key for key in graph.toposorted_asset_keys if graph.get(key).is_materializable):
            for partition in rule.partitions(key):
                if reason := rule.why(key, partition):
                    found["/".join([key.path[-1], *partition])] = reason
        return found

    def waits_for(self, asset: str, *partition: str) -> list[str]:
        rule = Outdated(self.defs().resolve_asset_graph(), SURVEY, {}, Layout(self.root), BATCHES)
        waiting = rule.waits_for(dg.AssetKey(["small", asset]), partition)
        return ["/".join([key.path[-1], *part]) for key, part in waiting]


@pytest.fixture
def small(tmp_path) -> Small:
    """Everything made, of two batches."""
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("small_batch", BATCHES)
    graph = Small(tmp_path, instance, {"b1": 1, "b2": 2, "b3": 3})
    for asset in ("delivered", "trained", "fitted", "applied", "summed"):
        for batch in BATCHES if asset in ("delivered", "applied") else [None]:
            graph.make(asset, batch)
    return graph


def test_what_was_made_is_up_to_date_and_its_file_says_of_what(small):
    assert small.reasons() == {}
    made = origin(Layout(small.root).table("small", "fitted"))
    delivered = {batch: origin(Layout(small.root).table("small", "delivered", batch)) for batch in BATCHES}
    assert {b: v.data for b, v in made.inputs["delivered"].items()} == {b: o.data for b, o in delivered.items()}
    assert (made.asset, made.partition, made.code) == ("small/fitted", "", "1")


def test_a_new_batch_outdates_no_model_and_what_it_reads_is_waited_for(small):
    assert small.reasons(batches=[*BATCHES, "b3"]) == {"delivered/b3": "never made", "applied/b3": "never made"}
    small.instance.add_dynamic_partitions("small_batch", ["b3"])
    graph = small.defs().resolve_asset_graph()
    rule = Outdated(graph, SURVEY, {}, Layout(small.root), [*BATCHES, "b3"])
    rule_waits = rule.waits_for(dg.AssetKey(["small", "applied"]), ("b3",))
    assert rule_waits == [(dg.AssetKey(["small", "delivered"]), ("b3",))]
    small.make("delivered", "b3")
    small.make("applied", "b3")
    assert small.reasons(batches=[*BATCHES, "b3"]) == {"summed": "applied changed"}


@pytest.mark.parametrize(
    ("follow", "expected"), [(None, {}), ("refit", {"fitted"}), ("retrain", {"trained", "fitted"})]
)
def test_a_model_follows_its_data_only_when_asked(small, follow, expected):
    batches = [*BATCHES, "b3"]
    small.instance.add_dynamic_partitions("small_batch", ["b3"])
    for asset in ("delivered", "applied"):
        small.make(asset, "b3")
    small.make("summed")
    assert set(small.reasons(follow, batches)) == set(expected)


def test_a_corrected_batch_is_made_anew_alone(small):
    small.numbers["b2"] = 7
    small.make("delivered", "b2")
    assert small.reasons() == {"applied/b2": "delivered changed"}
    assert small.waits_for("summed") == ["applied/b2"]


def test_other_code_that_makes_other_data_reaches_the_model(small):
    other = small._replace(code="2")
    assert set(other.reasons()) == {"delivered/b1", "delivered/b2"}
    for batch in BATCHES:
        other.make("delivered", batch)
    remade = "delivered was made anew by other code or settings"
    assert {name: why for name, why in other.reasons().items() if "/" not in name} == {
        "trained": remade,
        "fitted": remade,
    }


def test_a_table_made_again_alike_outdates_nothing(small):
    Layout(small.root).table("small", "delivered", "b1").unlink()
    assert small.reasons() == {"delivered/b1": "never made"}, "what reads it may turn out to be up to date"
    small.make("delivered", "b1")
    assert small.reasons() == {}


def test_another_surveys_checkpoint_concerns_the_start_from_it_alone(tmp_path):
    survey = SURVEY.model_copy(update={"start_weights": ("imagenet", "demo_optical")})
    theirs = dg.AssetKey(["demo_optical", "byol_checkpoints"])
    known = {"demo_optical": SURVEY.model_copy(update={"name": "demo_optical"})}

    @survey_asset("4_representation", paper="0", by="init", files=[OTHER_CHECKPOINTS])
    def checkpoints(context: SurveyContext) -> Result:
        return Result(pa.table({"init": [context.init]}))

    byol_checkpoints = checkpoints.of(survey, known)
    layout, instance = Layout(tmp_path), dg.DagsterInstance.ephemeral()
    graph = dg.Definitions([byol_checkpoints], resources=resources(tmp_path)).resolve_asset_graph()

    def told(init: str) -> tuple[str | None, list]:
        rule = Outdated(graph, survey, known, layout, BATCHES)
        return rule.why(byol_checkpoints.key, (init,)), rule.waits_for(byol_checkpoints.key, (init,))

    def trained(n: int) -> None:
        table = with_origin(pa.table({"n": [n]}), Origin(data=str(n)))
        write_table(table, layout.table("demo_optical", "byol_checkpoints", "imagenet"))

    assert told("imagenet") == (NEVER_MADE, []) and told("demo_optical") == (NEVER_MADE, [(theirs, ())])
    trained(1)
    assert told("demo_optical") == (NEVER_MADE, [])
    for init in survey.start_weights:
        dg.materialize([byol_checkpoints], partition_key=init, instance=instance, resources=resources(tmp_path))
    assert told("imagenet") == told("demo_optical") == (None, [])
    trained(2)
    assert told("imagenet") == (None, []) and told("demo_optical")[0] == "demo_optical/byol_checkpoints changed"


def test_an_asset_without_start_weights_of_its_own_reads_the_checkpoint_of_the_main_ones(tmp_path):
    known = {name: SURVEY.model_copy(update={"name": name}) for name in ("main", "other")}
    starts = {"start_weights": ("other", "main"), "main_start_weights": "main", "auto": ("cutout.method",)}
    survey, layout = SURVEY.model_copy(update=starts), Layout(tmp_path)

    @survey_asset("2_cutouts", paper="0", files=[OTHER_CHECKPOINTS])
    def tried(context: SurveyContext) -> Result:
        return Result(pa.table({"n": [1]}))

    asset = tried.of(survey, known)
    theirs = dg.AssetKey(["main", "byol_checkpoints"])
    assert set(asset.dependency_keys) == {theirs} and theirs in ASSETS[TRIALS].of(survey, known).dependency_keys
    graph = dg.Definitions([asset], resources=resources(tmp_path)).resolve_asset_graph()

    def told() -> tuple[str | None, list]:
        rule = Outdated(graph, survey, known, layout, BATCHES)
        return rule.why(asset.key, ()), rule.waits_for(asset.key, ())

    assert told() == (NEVER_MADE, [(theirs, ())])
    for name, n in [("main", 1), ("other", 1), ("other", 2), ("main", 2)]:
        table = with_origin(pa.table({"n": [n]}), Origin(data=str(n)))
        write_table(table, layout.table(name, "byol_checkpoints", "imagenet"))
        changed = told()[0]
        if (name, n) == ("main", 1):
            dg.materialize([asset], instance=dg.DagsterInstance.ephemeral(), resources=resources(tmp_path))
        else:
            assert changed == ("main/byol_checkpoints changed" if name == "main" else None)


def test_a_persons_file_is_seen(small):
    review = Layout(small.root).artefact_review("small")
    review.parent.mkdir()
    review.write_text("x0,y0\n")
    assert small.reasons() == {"summed": "review changed"}
    small.make("summed")
    assert small.reasons() == {}
    review.unlink()
    assert small.reasons() == {"summed": "review changed"}


def test_what_people_scored_is_looked_for_once_in_a_delivery_that_the_model_has_not_read(
    untrained, tmp_path, monkeypatch
):
    layout = Layout(shutil.copytree(untrained, tmp_path / "data"))
    events, home = layout.table("tiny", "label_events"), layout.lake / "tiny/pca_features"
    shutil.copytree(home / "first", home / "later")
    reader, read = external.Reader(survey_files(layout.root).known["tiny"], {}, layout), []
    counted = lambda path, *how: read.append(path.parent.name) or read_table(path, *how)  # noqa: E731
    monkeypatch.setattr(external, "read_table", counted)

    def scored(galaxy: str) -> dict[str, str]:
        table = read_table(events)
        row = table.slice(0, 1).to_pylist()[0] | {"kind": "score", "source": "explorer", "galaxy_id": galaxy}
        write_table(pa.Table.from_pylist([row], table.schema), events)
        read.clear()
        return dict(external.SCORED_GALAXIES.state(reader))

    found = scored("first_03")
    assert found.keys() == {"scores of later"} and "later" in read
    read.clear()
    assert external.SCORED_GALAXIES.state(reader) == found and not read
    assert scored("first_04") != found and "later" in read, "the events changed"
    read.clear()
    shutil.copytree(home / "first", home / "later", copy_function=shutil.copyfile, dirs_exist_ok=True)
    assert external.SCORED_GALAXIES.state(reader) and "later" in read, "the features changed"
