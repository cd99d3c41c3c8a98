"""Checkpoints: which statistics of batch normalisation a training keeps."""

import shutil

import pytest
from safetensors.torch import load_file

from galaxy_assets.orchestration.assets.representation import start_checkpoint
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
