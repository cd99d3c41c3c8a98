"""Checkpoints: which statistics of batch normalisation a training keeps."""

import logging
import shutil

import pyarrow as pa
import pytest
from safetensors.torch import load_file

from galaxy_assets.orchestration.assets.representation import start_checkpoint
from galaxy_assets.orchestration.declaration import SurveyContext
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table


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
