"""Checkpoints: what a training keeps, what stands beside it, and what is never trained."""

import json
import logging
import re
import shutil

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from galaxy_assets.definitions import build_defs
from galaxy_assets.lake.similar import similar
from galaxy_assets.orchestration.assets import representation
from galaxy_assets.orchestration.assets.recall import MET
from galaxy_assets.orchestration.assets.representation import start_checkpoint
from galaxy_assets.orchestration.declaration import SurveyContext
from galaxy_assets.orchestration.engines import in_process
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.orchestration.training_ledger import FIXED, epoch_used, meant_to_train
from galaxy_assets.science import training
from galaxy_assets.science.encoders import middle
from galaxy_assets.science.encoders.network import seeded, state_sha256
from galaxy_assets.science.encoders.weights import build_encoder
from galaxy_assets.settings import progress
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.storage.checkpoints import Training, file_sha256, load_encoder, load_start
from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import origin
from galaxy_assets.storage.tables import column_to_vectors, read_table
from galaxy_assets_tests.conftest import TINY, UNTRAINED, write_tiny


def test_statistics_are_kept_of_pretrained_starts_alone(world):
    """The recipe asks to keep them. Those of a random network are means of nothing, so that it gathers its own."""
    assert world.survey.recipe.freeze_statistics
    for start, kept in (("imagenet", True), ("random", False)):
        rows = read_table(Layout(world.root).table("tiny", "byol_checkpoints", start)).to_pylist()
        first, last = (load_file(world.root / rows[i]["path"]) for i in (0, -1))
        statistics = [name for name in first if "running" in name]
        assert statistics and rows[-1]["epoch"] == 2
        assert {bool((first[name] == last[name]).all()) for name in statistics} == {kept}
        trained = [name for name in first if name.endswith("weight")]
        assert any(bool((first[name] != last[name]).any()) for name in trained)


def test_another_surveys_checkpoint_is_compared_with_its_ledger_before_it_is_a_start(world, tmp_path):
    layout = Layout(tmp_path)
    for part in ("checkpoints", "byol_checkpoints"):
        shutil.copytree(world.root / "lake/tiny" / part, layout.lake / "tiny" / part)
    path = start_checkpoint(world.survey, layout)
    assert path is not None and path.is_relative_to(layout.checkpoints("tiny"))
    whole = bytearray(path.read_bytes())
    whole[-9] ^= 4
    path.write_bytes(whole)
    with pytest.raises(DamagedFile, match="not the checkpoint its ledger records"):
        start_checkpoint(world.survey, layout)
    path.unlink()
    with pytest.raises(DamagedFile, match=str(path)):
        start_checkpoint(world.survey, layout)


def test_whatever_it_starts_from_a_network_of_one_size_alone_says_so_before_anything_is_computed(world, tmp_path):
    recipe = world.survey.recipe.model_copy(update={"backbone": "convit_tiny", "image_size": 64})
    survey, layout = world.survey.model_copy(update={"recipe": recipe}), Layout(tmp_path)
    context = SurveyContext(survey, {}, layout, "first", "random", logging.getLogger())
    says = r"\(convit_tiny\) does not take images of 64 pixels .*set recipe.image_size to 224"
    with pytest.raises(PrintableError, match=f"random {says}"):
        representation.start_encoder(context)
    assert representation.start_encoder(context, side=224).start == "random"
    network = timm.create_model("convit_tiny", num_classes=timm.get_pretrained_cfg("convit_tiny").num_classes)
    layout.weights.mkdir(parents=True)
    save_file(network.state_dict(), layout.weights / "convit_tiny.safetensors")
    shutil.copytree(Layout(world.root).pixels("tiny"), layout.pixels("tiny"))
    cutouts = read_table(Layout(world.root).table("tiny", "cutouts", "first"))
    with pytest.raises(PrintableError, match=f"imagenet {says}"):
        ASSETS["pretrained_features"].function(context, cutouts)


BESIDE = UNTRAINED | {
    "start_weights": ["imagenet", "classical", "mine"],
    "networks": {"mine": {"backbone": "test_vit", "weights": "weights/mine.pt"}},
    "recipe": TINY["recipe"] | {"epochs": 1, "beside": {"classical": 0.5}, "epoch_choice": "healthy"},
}


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """A survey of a network, of features by formulae, and of a network from a file; formulae stand beside both."""
    root = tmp_path_factory.mktemp("beside")
    write_tiny(root, BESIDE)
    with seeded(3):
        state = timm.create_model("test_vit", pretrained=False).state_dict()
    torch.save({"state_dict": {f"encoder.{name}": tensor for name, tensor in state.items()}}, root / "weights/mine.pt")
    known, instance = survey_files(root).known, dg.DagsterInstance.ephemeral()
    outcomes = list(in_process.run_survey(build_defs(root), known["tiny"], known, instance, root))
    assert {o.status for o in outcomes} == {"done"}, [o for o in outcomes if o.error]
    return Layout(root), known["tiny"]


def test_formulae_are_never_trained_and_go_through_everything(beside):
    layout, survey = beside
    (row,) = read_table(layout.table("tiny", "byol_checkpoints", "classical")).to_pylist()
    assert (row["epoch"], row["chosen"], row["reason"]) == (0, True, FIXED)
    assert not meant_to_train(row, survey.recipe)
    encoder = load_encoder(layout.root / row["path"])
    features = vectors(layout, "embeddings", "first", "classical")
    assert features.shape[1] == encoder.feature_size and np.isfinite(features).all()
    for table in ("pca_model", "cluster_summary", "class_membership", "epoch_accuracy"):
        assert read_table(layout.table("tiny", table, "classical")).num_rows, table


@pytest.mark.parametrize("start", ["imagenet", "mine"])
def test_features_beside_the_chosen_epochs_have_the_same_total_variance(beside, start):
    layout, survey = beside
    rows = read_table(layout.table("tiny", "byol_checkpoints", start)).to_pylist()
    assert [row["epoch"] for row in rows] == [0, 1, 2] and [row["chosen"] for row in rows] == [False, False, True]
    assert "beside classical (x0.5), scaled to the same total variance" in rows[-1]["reason"]
    encoder = load_encoder(layout.root / rows[-1]["path"])
    network, formulae = encoder.network.encoders
    assert network.backbone == (survey.recipe.backbone if start == "imagenet" else "test_vit")
    assert formulae.variant == "classical"
    features = np.vstack([vectors(layout, "embeddings", batch, start) for batch in ("first", "second")])
    first, second = np.split(features, [network.feature_size], axis=1)
    assert second.var(axis=0).sum() == pytest.approx(0.25 * first.var(axis=0).sum(), rel=1e-3)
    assert meant_to_train(rows[-1], survey.recipe)
    alone = load_encoder(layout.root / rows[epoch_used(rows[-1])]["path"])
    assert state_sha256(alone) == state_sha256(network)


@pytest.fixture
def checkpoints(beside, tmp_path):
    """Rows of `byol_checkpoints` from start weights, with settings in place of the survey's, in a copy of its lake."""
    there, survey = beside
    layout = Layout(tmp_path)
    for made in (there.weights, there.checkpoints("tiny"), there.pixels("tiny")):
        shutil.copytree(made, layout.root / made.relative_to(there.root))
    tables = {
        name: pa.concat_tables([read_table(there.table("tiny", name, batch)) for batch in ("first", "second")])
        for name in ("cutouts", "clean_galaxies")
    }

    def made(start: str, mean: float | None = None, **recipe) -> list[dict]:
        mine = survey.networks["mine"].model_copy(update={"mean": mean and (mean,) * 3})
        told = {"networks": {"mine": mine}, "recipe": survey.recipe.model_copy(update=recipe)}
        context = SurveyContext(survey.model_copy(update=told), {}, layout, "", start, logging.getLogger(__name__))
        return ASSETS["byol_checkpoints"].function(context, **tables).table.to_pylist()

    return layout, made


def test_a_corrected_mean_is_trained_and_used_and_nothing_is_trained_anew_without_one(beside, checkpoints):
    (there, _), (layout, made) = beside, checkpoints
    before = [row["sha256"] for row in read_table(there.table("tiny", "byol_checkpoints", "mine")).to_pylist()]
    files = list(layout.checkpoints("tiny").rglob("epoch_*"))
    times = [file.stat().st_mtime_ns for file in files]
    assert [row["sha256"] for row in made("mine")] == before
    assert [file.stat().st_mtime_ns for file in files] == times
    corrected = made("mine", mean=0.25)
    assert not {row["sha256"] for row in corrected} & set(before)
    start, trained = (load_encoder(layout.root / row["path"]) for row in corrected[:2])
    assert start.mean.flatten().tolist() == trained.mean.flatten().tolist() == [0.25] * 3
    assert load_encoder(layout.root / corrected[2]["path"]).network.encoders[0].mean.max() == 0.25


def test_a_corrected_mean_of_what_stands_beside_is_used_and_trains_nothing(checkpoints):
    layout, made = checkpoints
    before = made("imagenet", beside={"mine": 0.5})
    after = made("imagenet", mean=0.25, beside={"mine": 0.5})
    assert [row["sha256"] for row in after[:2]] == [row["sha256"] for row in before[:2]]
    assert after[2]["sha256"] != before[2]["sha256"]
    assert load_encoder(layout.root / after[2]["path"]).network.encoders[1].mean.max() == 0.25


def test_what_stands_side_by_side_is_of_the_epoch_that_is_chosen_now(checkpoints):
    layout, made = checkpoints
    for fewest, epochs in ((10_000, [0, 2]), (0, [0, 1, 2]), (10_000, [0, 2])):
        rows = made("random", train_random_from=fewest, beside={"classical": 0.5}, epoch_choice="last")
        assert [row["epoch"] for row in rows] == epochs and rows[-1]["chosen"]
        chosen = epochs[-2]
        assert rows[-1]["reason"].startswith(f"epoch {chosen} beside classical")
        of = load_encoder(layout.root / rows[-1]["path"]).network.encoders[0]
        assert state_sha256(of) == state_sha256(load_encoder(layout.root / rows[chosen]["path"]))


def test_the_middle_block_is_that_of_the_start_whether_trained_or_not_and_formulae_have_none(checkpoints):
    layout, made = checkpoints
    rows = made("imagenet", beside={"start": 1.0, "middle": 0.5, "pyramid": 1.4}, epoch_choice="last")
    assert "epoch 1 beside start (x1) and middle (x0.5) and pyramid (x1.4)" in rows[-1]["reason"]
    trained, start, half, places = load_encoder(layout.root / rows[-1]["path"]).network.encoders
    assert state_sha256(start) == state_sha256(load_encoder(layout.root / rows[0]["path"])) != state_sha256(trained)
    assert half.variant == "middle" and half.feature_size < start.feature_size
    whole, kept = start.network.state_dict(), half.network.network.state_dict()
    assert kept and all(torch.equal(tensor, whole[name]) for name, tensor in kept.items())
    assert places.variant == "pyramid" and places.feature_size == 5 * half.feature_size
    assert all(map(torch.equal, places.network.network.state_dict().values(), kept.values()))
    scales = load_encoder(layout.root / rows[-1]["path"]).network.scales
    alike = made("imagenet", beside={"start": 1.0, "middle": 1.0, "pyramid": 1.0}, epoch_choice="last")[-1]["path"]
    factors = scales / load_encoder(layout.root / alike).network.scales
    torch.testing.assert_close(factors, torch.tensor([1.0, 1.0, 0.5, 1.4]), rtol=1e-3, atol=0)
    (before, beside) = made("random", train_random_from=10_000, beside={"start": 1.0, "middle": 1.0})
    assert (before["epoch"], beside["chosen"]) == (0, True) and "beside middle (x1)" in beside["reason"]
    (alone,) = made("classical", beside={"start": 1.0, "middle": 1.0})
    assert alone["chosen"] and alone["reason"] == FIXED


def test_what_stands_beside_is_set_anew_without_training_anew(checkpoints):
    layout, made = checkpoints
    before = made("imagenet", beside={"classical": 0.5}, epoch_choice="last")
    scales = load_encoder(layout.root / before[-1]["path"]).network.scales
    times = {path: path.stat().st_mtime_ns for path in layout.checkpoints("tiny").rglob("epoch_00[01].*")}
    for beside in ({"classical": 0.25}, {"classical": 0.25, "start": 1.0}, {}, {"classical": 0.5}):
        rows = made("imagenet", beside=beside, train_random_from=5, epoch_choice="last")
        assert [row["sha256"] for row in rows[:2]] == [row["sha256"] for row in before[:2]]
        assert len(rows) == 2 + bool(beside) and rows[-1]["chosen"]
        assert all(f"{name} (x{factor:g})" in rows[-1]["reason"] for name, factor in beside.items())
    assert {path: path.stat().st_mtime_ns for path in layout.checkpoints("tiny").rglob("epoch_00[01].*")} == times
    assert torch.equal(load_encoder(layout.root / rows[-1]["path"]).network.scales, scales)
    assert file_sha256(layout.root / before[-1]["path"]) == before[-1]["sha256"], "what a table names stays"


def test_a_damaged_file_of_what_stands_side_by_side_is_made_anew_and_no_epoch(checkpoints):
    layout, made = checkpoints
    before = made("imagenet", beside={"classical": 0.25})
    damaged = layout.root / before[-1]["path"]
    damaged.write_bytes(b"damaged")
    times = {path: path.stat().st_mtime_ns for path in layout.checkpoints("tiny").rglob("epoch_00[01].*")}
    after = made("imagenet", beside={"classical": 0.25})
    assert after[-1]["path"] == before[-1]["path"] and file_sha256(damaged) == after[-1]["sha256"]
    assert {path: path.stat().st_mtime_ns for path in layout.checkpoints("tiny").rglob("epoch_00[01].*")} == times


@pytest.mark.parametrize("name", ["middle", "pyramid"])
def test_a_network_without_a_middle_is_told_with_the_remedy(checkpoints, monkeypatch, name):
    layout, made = checkpoints
    monkeypatch.setattr(middle, "_FEWEST", 1000)
    before = sorted(layout.checkpoints("tiny").rglob("epoch_*"))
    with pytest.raises(dg.Failure, match=f"remove `{name}` from recipe.beside") as told:
        made("imagenet", beside={name: 1.0})
    assert not told.value.allow_retries
    assert sorted(layout.checkpoints("tiny").rglob("epoch_*")) == before, "nothing is trained for it"


def test_the_time_left_is_told_from_what_the_start_took_and_what_stands_side_by_side_is_a_step_of_its_own(
    checkpoints, caplog, monkeypatch
):
    monkeypatch.setattr(training, "_PROGRESS_SECONDS", 0.0)
    layout, made = checkpoints
    before = made("imagenet")
    files = Training((layout.root / before[0]["path"]).parent)
    kept = json.loads((files.folder / "epoch_000.json").read_text())
    assert kept["kept_in"] > 0
    (files.folder / "epoch_001.json").unlink()
    shutil.rmtree((layout.root / before[-1]["path"]).parent)
    files.record(0, kept | {"kept_in": 7200.0})
    with caplog.at_level(logging.INFO):
        assert [row["sha256"] for row in made("imagenet")] == [row["sha256"] for row in before]
    told = [found for record in caplog.records if (found := progress.read(record.getMessage()))]
    assert 7200 <= next(one for one in told if one.what == "training, epoch 1 of 1").left < 7500
    assert [one.done for one in told if one.what == "features side by side"] == [0, 1, 2, 3]


def test_a_picture_from_elsewhere_is_looked_up_by_both(beside):
    layout, _ = beside
    found = similar("tiny", files=[layout.root / "raw/tiny/images/first/first_04.png"], neighbours=2, root=layout.root)
    assert found["neighbour_id"][0].as_py() == "first_04" and found["distance"][0].as_py() < 1e-3


@pytest.mark.parametrize(("chosen", "names"), [(1, ["start", "classical"]), (0, ["classical"])])
def test_the_start_stands_beside_what_was_trained_from_it_and_not_beside_itself(beside, chosen, names):
    layout, survey = beside
    rows = read_table(layout.table("tiny", "byol_checkpoints", "imagenet")).to_pylist()
    files = Training((layout.root / rows[0]["path"]).parent)
    recipe = survey.recipe.model_copy(update={"beside": {"start": 1.0, "classical": 0.5}})
    table = pa.Table.from_pylist([row | {"chosen": row["epoch"] == chosen} for row in rows])
    others = [build_encoder(survey.recipe.backbone, "classical", seed=0, weights=layout.weights)]
    found = representation._beside(files, table, recipe, others)
    assert list(found) == names
    if chosen:
        assert state_sha256(found["start"]) == state_sha256(load_encoder(layout.root / rows[0]["path"]))


def test_another_survey_starts_from_the_network_alone(beside):
    layout, survey = beside
    path = start_checkpoint(survey, layout)
    assert load_encoder(path).variant == "side_by_side"
    assert load_start(path, survey="tiny", backbone=survey.recipe.backbone).variant == "timm"


def vectors(layout, table, batch, start):
    return column_to_vectors(read_table(layout.table("tiny", table, batch, start))["vector"])


def test_encoders_are_compared_without_labels_and_with_them(beside):
    layout, survey = beside
    rows = read_table(layout.table("tiny", "encoder_comparison")).to_pylist()
    assert [row["init"] for row in rows] == ["imagenet", "classical", "mine"]
    assert [row["network"] for row in rows] == [
        f"{survey.recipe.backbone} beside formulae",
        "formulae",
        "test_vit beside formulae",
    ]
    for row in rows:
        ledger = read_table(layout.table("tiny", "byol_checkpoints", row["init"])).to_pylist()
        (chosen,) = (one for one in ledger if one["chosen"])
        assert all(row[name] == chosen[name] for name in ("epoch", "stability", "pcs_95"))
        judged = read_table(layout.table("tiny", "epoch_accuracy", row["init"]))
        judged = judged.filter(judged["chosen"])["accuracy"].to_numpy()
        assert row["accuracy"] == pytest.approx(judged.mean()) and row["cluster_accuracy"] is not None
    recall = read_table(layout.table("tiny", "anomaly_recall"))
    unshown = recall["found_unshown"].drop_null().to_pylist()
    measured = origin(layout.table("tiny", "anomaly_recall")).measured
    assert rows[0]["met"] == measured[MET] == recall["found"].to_pylist()[-1] - unshown[-1]
    assert rows[0]["found_unshown"] == unshown[:100][-1]
    assert {row["met"] for row in rows[1:]} == {None}
    # a person found one more and left none: the simulated one met no more by that
    more = pa.table({"found": pa.array([n + 1 for n in recall["found"].to_pylist()])})
    scored = more.append_column("found_unshown", pa.nulls(recall.num_rows, pa.int64()))
    tables = {
        name: pa.concat_tables(read_table(layout.table("tiny", name, row["init"])) for row in rows)
        for name in ("byol_checkpoints", "epoch_accuracy", "cluster_summary")
    }
    context = SurveyContext(survey, {}, layout, "", "", logging.getLogger(__name__))
    again = ASSETS["encoder_comparison"].function(context, anomaly_recall=scored, **tables).table.to_pylist()
    assert [row["met"] for row in again] == [row["met"] for row in rows] and again[0]["found_unshown"] is None


def test_what_stands_side_by_side_is_no_epoch_in_the_captions(beside):
    layout, _ = beside
    note = json.loads(layout.figure("tiny", "figure_03").with_suffix(".json").read_text())
    assert re.search(
        r"imagenet [\d.]+% before and [\d.]+% after 1 epochs, side by side with classical [\d.]+%", note["caption"]
    )
    assert [name for name in note["numbers"] if name.startswith("imagenet")] == [
        "imagenet, epoch 0",
        "imagenet, epoch 1",
        "imagenet, side by side",
    ]
    note = json.loads(layout.figure("tiny", "figure_14").with_suffix(".json").read_text())
    assert re.search(r"classical [\d.]+%, not trained; mine", note["caption"])


@pytest.mark.parametrize(("fewest", "epochs"), [(None, [0]), (73, [0]), (72, [0, 1, 2]), (0, [0, 1, 2])])
def test_random_start_weights_are_trained_on_enough_galaxies_and_the_reason_is_told(world, tmp_path, fewest, epochs):
    layout, trained = Layout(tmp_path), Layout(world.root)
    shutil.copytree(trained.checkpoints("tiny"), layout.checkpoints("tiny"))  # so that nothing is trained here
    shutil.copytree(trained.pixels("tiny"), layout.pixels("tiny"))
    recipe = world.survey.recipe.model_copy(update={"train_random_from": fewest})
    tables = {
        name: pa.concat_tables([read_table(trained.table("tiny", name, b)) for b in ("first", "second")])
        for name in ("cutouts", "clean_galaxies")
    }
    survey = world.survey.model_copy(update={"recipe": recipe})
    context = SurveyContext(survey, {}, layout, "", "random", logging.getLogger(__name__))
    rows = ASSETS["byol_checkpoints"].function(context, **tables).table.to_pylist()
    assert [row["epoch"] for row in rows] == epochs
    before = read_table(trained.table("tiny", "byol_checkpoints", "random")).to_pylist()
    assert [row["sha256"] for row in rows] == [row["sha256"] for row in before[: len(rows)]]
    if len(epochs) == 1:
        said = f"trained on {fewest or 10_000:,} galaxies or more, and there are 72: the start is used"
        assert rows[0]["chosen"] and said in rows[0]["reason"]


def test_the_paper_trains_random_start_weights_always():
    assert [Recipe(preset=name).fewest_for_random for name in ("paper", "small")] == [0, 10_000]
    assert Recipe(preset="small", train_random_from=0).fewest_for_random == 0
    assert Recipe(preset="paper", train_random_from=50).fewest_for_random == 50
