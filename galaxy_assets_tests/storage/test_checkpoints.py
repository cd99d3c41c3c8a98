"""Checkpoints: equal encoders are equal files, and what is absent, foreign or damaged is refused with the remedy."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from galaxy_assets.plugins import PluginError
from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.network import encoder_to_tensors, state_sha256
from galaxy_assets.science.encoders.weights import MissingWeights, build_encoder
from galaxy_assets.storage.checkpoints import (
    StateFile,
    chosen_checkpoint,
    file_sha256,
    load_encoder,
    load_start,
    save_encoder,
)

CPU = torch.device("cpu")
TINY = "test_resnet"


def images(n: int = 5, size: int = 32, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, size, size, channels), np.uint8)


def test_saved_encoder_starts_another_survey(tmp_path):
    path = tmp_path / "folder" / "epoch_002.safetensors"
    encoder = build_encoder(TINY, "random", seed=1, weights=tmp_path)
    save_encoder(encoder, path, {"survey": "gz_decals"})
    started = load_start(path, survey="gz_decals", backbone=TINY)
    assert (started.start, load_encoder(path).start) == ("gz_decals", "random")
    np.testing.assert_array_equal(embed(started, images(), device=CPU), embed(encoder, images(), device=CPU))
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    with pytest.raises(ValueError, match=f"holds a {TINY}, this survey's backbone is resnet18"):
        load_start(path, survey="gz_decals", backbone="resnet18")
    for absent in (None, tmp_path / "none.safetensors"):
        with pytest.raises(MissingWeights, match="train the survey gz_decals first"):
            load_start(absent, survey="gz_decals", backbone=TINY)


CHILD = """
import sys
from pathlib import Path
from galaxy_assets.science.encoders.weights import build_encoder
from galaxy_assets.storage.checkpoints import save_encoder
encoder = build_encoder("test_resnet", "random", seed=1, weights=Path())
save_encoder(encoder, Path(sys.argv[1]), {"survey": "m\u00e9sier", "recipe": "abc", "note": 'a "quoted"\\nline'})
"""


def test_two_processes_write_the_same_encoder_as_the_same_bytes(tmp_path):
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.safetensors"
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", CHILD, str(path)], env=environment, check=True)
    first, second = (tmp_path / f"{seed}.safetensors" for seed in (1, 2))
    assert file_sha256(first) == file_sha256(second)
    with safe_open(first, framework="pt") as file:
        metadata = file.metadata()
    assert list(metadata) and (metadata["survey"], metadata["note"]) == ("m\u00e9sier", 'a "quoted"\nline')
    encoder = build_encoder(TINY, "random", seed=1, weights=tmp_path)
    assert state_sha256(load_encoder(first)) == state_sha256(encoder)


def test_the_header_is_valid_and_in_the_order_of_names(tmp_path):
    path = tmp_path / "e.safetensors"
    save_encoder(build_encoder(TINY, "random", seed=1, weights=tmp_path), path, {"survey": "mine", "a": "1"})
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    names = list(header["__metadata__"])
    assert names == sorted(names) and {"a", "survey", "backbone"} <= set(names)
    assert length % 8 == 0
    assert 8 + length + max(one["data_offsets"][1] for k, one in header.items() if k != "__metadata__") == len(content)


def test_a_file_written_in_another_order_is_read_too(tmp_path):
    encoder = build_encoder(TINY, "random", seed=1, weights=tmp_path)
    tensors, metadata = encoder_to_tensors(encoder)
    save_file(tensors, tmp_path / "old.safetensors", metadata=metadata)
    assert state_sha256(load_encoder(tmp_path / "old.safetensors")) == state_sha256(encoder)


def test_foreign_safetensors_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"w": torch.ones(1)}, path)
    with pytest.raises(ValueError, match=r"w.safetensors: this is not an encoder of galaxy-assets"):
        load_encoder(path)


def test_an_architecture_that_is_not_installed_is_named_with_the_file(tmp_path):
    encoder = build_encoder(TINY, "random", seed=1, weights=tmp_path)
    encoder.variant = "theirs"
    save_encoder(encoder, tmp_path / "e.safetensors", {})
    with pytest.raises(
        PluginError,
        match=r"e.safetensors: no encoders plug-in 'theirs'; registered are classical, middle, pyramid, rgz, ",
    ):
        load_encoder(tmp_path / "e.safetensors")


def test_a_state_is_whole_or_refused_and_travels_between_processes(tmp_path):
    state = StateFile(tmp_path / "new" / "state.pt")
    assert state.read() is None
    state.write({"epoch": 1, "weights": torch.ones(3)})
    state.write({"epoch": 2, "weights": torch.zeros(3)})
    found = pickle.loads(pickle.dumps(state)).read()
    assert found is not None and found["epoch"] == 2 and torch.equal(found["weights"], torch.zeros(3))
    assert [p.name for p in state.path.parent.iterdir()] == ["state.pt"]
    whole = state.path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a state"):
        state.path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"(?s)state.pt is not a whole training state .* delete .*state.pt"):
            state.read()
    state.remove()
    state.remove()
    assert state.read() is None


def test_a_state_with_a_pickled_object_is_not_run(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "run"),)

    torch.save({"identity": Harm()}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match="not a whole training state"):
        StateFile(tmp_path / "state.pt").read()
    assert not (tmp_path / "run").exists()


def test_the_chosen_checkpoint_is_the_one_that_its_ledger_records(tmp_path):
    rows = [{"init": "imagenet", "epoch": e, "path": f"epoch_{e}", "chosen": e == 1} for e in range(3)]
    for row in rows:
        (tmp_path / row["path"]).write_bytes(row["path"].encode())
        row["sha256"] = file_sha256(tmp_path / row["path"])
    ledger = pa.Table.from_pylist(rows)
    row, path = chosen_checkpoint(ledger, tmp_path)
    assert (row["epoch"], path) == (1, tmp_path / "epoch_1")
    path.write_bytes(b"epoch_9")  # another training's, of the same size
    with pytest.raises(ValueError, match="not the checkpoint its ledger records.*galaxy-assets check --deep --repair"):
        chosen_checkpoint(ledger, tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match="not the checkpoint its ledger records"):
        chosen_checkpoint(ledger, tmp_path)
