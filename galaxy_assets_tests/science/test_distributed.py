"""Two processes train as one: the same step and the same epochs, and nothing is left running when one fails."""

import multiprocessing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from galaxy_assets.science.byol import Byol, step, train
from galaxy_assets.science.distributed import Share, processes, synchronise
from galaxy_assets.science.encoders.weights import build_encoder
from galaxy_assets.science.training import adam
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.storage.checkpoints import StateFile
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets_tests.science.test_byol import small_encoder

CPU = torch.device("cpu")
TWO = [CPU, CPU]
RECIPE = Recipe(
    preset="paper", projection_size=16, projection_hidden_size=32, tau=0.9, learning_rate=1e-3, batch_size=8
)


def steps(share: Share, device: torch.device, file: Path, batch_norm: str, freeze: bool) -> None:
    """Four steps in float64 on this process's share of the batches; the first process writes the learner."""
    recipe = RECIPE.model_copy(update={"batch_norm": batch_norm})
    learner = Byol(small_encoder().double(), recipe, freeze=freeze).double()
    optimiser = adam(learner, recipe)
    if share.processes > 1:
        synchronise(learner)
    generator = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(4):
        views = [torch.rand((8, 3, 16, 16), generator=generator, dtype=torch.float64) for _ in range(2)]
        losses.append(share.mean(step(learner, optimiser, *map(share.of, views), bfloat16=False, share=share)))
    if share.rank == 0:
        torch.save({"losses": torch.stack(losses), **learner.state_dict()}, file)


@pytest.mark.parametrize(("batch_norm", "freeze"), [("concat", False), ("per_view", True)])
def test_two_processes_step_as_one_with_the_whole_batch(tmp_path, batch_norm, freeze):
    steps(Share(), CPU, tmp_path / "one", batch_norm, freeze)
    with processes(TWO, steps, (tmp_path / "two", batch_norm, freeze)) as share:
        steps(share, CPU, tmp_path / "two", batch_norm, freeze)
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-8, rtol=0, msg=name)
    assert not torch.equal(one["losses"], two["losses"]), "two processes did compute"


def test_two_devices_train_a_timm_network_as_one(tmp_path):
    """The whole loop, from the memory-mapped store, with a network whose batch normalisation holds its activation."""
    pixels = np.random.default_rng(0).integers(0, 256, (26, 32, 32, 3), np.uint8)
    store = PixelStore(tmp_path / "pixels")
    make = lambda rows: (pixels[rows.start : rows.stop], pa.table({"row": list(rows)}))  # noqa: E731
    store.fill("night", n=26, shape=(32, 32, 3), fingerprint="x", make=make)
    changes = {"backbone": "test_efficientnet", "image_size": 32, "epochs": 2, "noise": 0.1, "learning_rate": 1e-5}
    recipe = RECIPE.model_copy(update=changes)
    found, losses = [], []
    for devices in ([CPU], TWO):
        encoder = build_encoder(recipe.backbone, "random", seed=0, weights=tmp_path)
        history: list[float] = []
        trained = train(
            encoder,
            store.stack(["night"]),
            np.arange(26),
            recipe,
            freeze=False,
            devices=devices,
            state=StateFile(tmp_path / f"state_{len(devices)}.pt"),
            on_epoch=lambda result, _, history=history: history.append(result.loss),
        )
        losses.append(history)
        found.append(trained.eval()(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).detach())
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)

    assert torch.nn.functional.cosine_similarity(found[0], found[1]).min() > 0.999
    assert multiprocessing.active_children() == []


def wait_for_a_partner(share: Share, device: torch.device) -> None:
    share.mean(torch.ones(1))


def fail(share: Share, device: torch.device) -> None:
    raise ArithmeticError("this one cannot")


@pytest.mark.parametrize("work", [wait_for_a_partner, fail])
def test_a_failure_ends_the_others(work):
    with pytest.raises(Exception, match="this one cannot"), processes(TWO, work, ()) as share:
        if work is wait_for_a_partner:
            fail(share, CPU)
    assert multiprocessing.active_children() == []
    assert not torch.distributed.is_initialized()
