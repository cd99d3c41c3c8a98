"""One of the processes of a training over several hosts; `test_torchrun` starts it, by itself or by torchrun.

    python -m galaxy_assets_tests.science.training_over_hosts FOLDER

It prints a line of JSON for each epoch that it is told of, and at the end one with the digest of the weights.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from galaxy_assets.science.byol import train
from galaxy_assets.science.encoders.network import state_sha256
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.storage.checkpoints import StateFile
from galaxy_assets_tests.science.test_byol import small_encoder

RECIPE = Recipe(
    preset="paper",
    projection_size=16,
    projection_hidden_size=32,
    learning_rate=1e-4,
    batch_size=8,
    image_size=16,
    epochs=2,
)
PIXELS = np.random.default_rng(0).integers(0, 256, (26, 16, 16, 3), np.uint8)


class Images:
    """The pixels; this process fails when it is asked for those of its second epoch."""

    def __init__(self, how: str):
        self.how, self.asked, self.shape = how, 0, PIXELS.shape

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The pixels, until it fails."""
        self.asked += 1
        if self.asked == 5 and self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.asked == 5 and self.how == "unreadable":
            raise FileNotFoundError("no pixels here")
        if self.asked == 5 and self.how == "full":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return PIXELS[rows]


def main(folder: Path, how: str = "") -> None:
    """Train, and tell."""
    torch.set_num_threads(1)
    rank = int(os.environ.get("RANK", "0"))
    if how == "elsewhere" and rank == 1:
        folder = folder / "of_this_host"
    trained = train(
        small_encoder(),
        Images(how if rank == 1 else ""),
        np.arange(26),
        RECIPE,
        freeze=False,
        devices=[torch.device("cpu")],
        state=StateFile(folder / "state.pt"),
        on_epoch=lambda result, _: print(json.dumps({"epoch": result.epoch, "loss": result.loss}), flush=True),
        hosts=True,
    )
    print(json.dumps({"weights": state_sha256(trained)}), flush=True)


def in_a_process(file: Path, place: Mapping[str, object], folder: Path, how: str) -> None:
    """`main` with torchrun's variables; what it prints and how it fails is kept in two files beside each other."""
    os.environ.update({name: str(value) for name, value in place.items()})
    sys.stdout, sys.stderr = (file.with_suffix(f".{name}").open("w") for name in ("out", "err"))
    logging.basicConfig(stream=sys.stderr)
    main(folder, how)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
