"""Saving memory changes nothing but rounding, a full device is told of and got round, compiling must show its worth."""

import copy
import logging
import shutil

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from galaxy_assets.science import byol_gradients
from galaxy_assets.science.augmentation import augment
from galaxy_assets.science.batches import Batches
from galaxy_assets.science.byol import Byol, step, train
from galaxy_assets.science.byol_gradients import (
    Economy,
    ThriftyBackward,
    backward,
    compiled_where_faster,
    economies,
)
from galaxy_assets.science.devices import autocast
from galaxy_assets.science.encoders.network import Encoder, seeded
from galaxy_assets.science.training import adam
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.storage.checkpoints import StateFile
from galaxy_assets_tests.science.test_byol import small_encoder

CPU = torch.device("cpu")
FLOAT = autocast(CPU, "float32")
PIXELS = np.random.default_rng(0).integers(0, 256, (26, 20, 20, 3), np.uint8)
NO_BATCHES = Batches(PIXELS, np.arange(0), CPU, keep=False)


def recipe(batch_norm: str) -> Recipe:
    return Recipe(
        preset="paper",
        image_size=16,
        epochs=2,
        batch_size=8,
        learning_rate=1e-3,
        projection_size=16,
        projection_hidden_size=32,
        batch_norm=batch_norm,  # pyright: ignore[reportArgumentType]
    )


class Tight(nn.Module):
    """A device in small: no more than `room` images may wait for their backward pass, from the pass `full_from` on."""

    def __init__(self, room: int, full_from: int = 0):
        super().__init__()
        with seeded(0):
            self.layers = nn.Sequential(
                nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3), nn.Flatten()
            )
        self.room, self.full_from, self.waiting, self.passes = room, full_from, 0, 0

    def forward(self, images: Tensor) -> Tensor:
        found = self.layers(images)  # a pass that fails has changed the running statistics already
        if not (self.training and torch.is_grad_enabled()):
            return found
        self.passes += 1
        if self.waiting + len(images) > self.room and self.passes > self.full_from:
            self.waiting = 0
            raise torch.OutOfMemoryError("planted")
        self.waiting += len(images)
        found.register_hook(lambda _: self._done(len(images)))
        return found

    def _done(self, images: int) -> None:
        self.waiting -= images


def encoder(room: int = 99, full_from: int = 0) -> Encoder:
    return Encoder(
        Tight(room, full_from), backbone="x", start="random", feature_size=32, mean=(0.5,) * 3, std=(0.25,) * 3
    )


def state(learner: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in learner.state_dict().items()}


def close(one: dict[str, Tensor], other: dict[str, Tensor], atol: float) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=atol, rtol=0, msg=name)


CASES = [("concat", True), ("per_view", True), ("per_view", False), ("concat", False)]


@pytest.mark.parametrize(("batch_norm", "freeze"), CASES)
def test_every_economy_steps_as_the_whole_batch_does(batch_norm, freeze):
    """Four steps in float64: losses, weights and running statistics, of the target too."""
    ways = economies(recipe(batch_norm), freeze, images=16)
    assert [way.parts for way in ways] == {
        ("concat", True): [1, 2, 4, 8, 16, 16],
        ("per_view", True): [1, 2, 4, 8, 16, 16],
        ("per_view", False): [1, 2, 2],
        ("concat", False): [1, 1],
    }[batch_norm, freeze]
    assert [way.on_host for way in ways] == [False] * (len(ways) - 1) + [True]
    found = []
    for way in ways:
        learner = Byol(encoder(), recipe(batch_norm), freeze=freeze).double()
        optimiser, generator = adam(learner, recipe(batch_norm)), torch.Generator().manual_seed(1)
        losses = []
        for _ in range(4):
            views = [torch.rand((8, 3, 16, 16), generator=generator, dtype=torch.float64) for _ in range(2)]
            losses.append(
                step(
                    learner,
                    optimiser,
                    *views,
                    bfloat16=False,
                    gradients=lambda *given, way=way: backward(*given, economy=way),
                )
            )
        found.append({"losses": torch.stack(losses), **state(learner)})
    for other in found[1:]:
        close(found[0], other, atol=1e-9)


def test_activations_on_the_host_give_the_same_gradients():
    """What `Economy.on_host` does on a GPU, on the CPU."""
    learner = Byol(encoder(), recipe("concat"), freeze=False)
    views = torch.rand(8, 3, 16, 16), torch.rand(8, 3, 16, 16)
    backward(learner, *views, FLOAT)
    expected = [parameter.grad.clone() for parameter in learner.parameters() if parameter.grad is not None]
    learner.zero_grad()
    with torch.autograd.graph.save_on_cpu():
        learner(*views).backward()
    found = [parameter.grad for parameter in learner.parameters() if parameter.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


# a device that is full


def trained(tmp_path, name: str, encoder: Encoder, batch_norm: str, freeze: bool, devices=(CPU,)) -> list[float]:
    losses: list[float] = []
    train(
        encoder,
        PIXELS,
        np.arange(26),
        recipe(batch_norm),
        freeze=freeze,
        devices=devices,
        state=StateFile(tmp_path / f"{name}.pt"),
        on_epoch=lambda result, _: losses.append(result.loss),
    )
    return losses


FULL = pytest.mark.parametrize(("batch_norm", "freeze", "room"), [("concat", True, 4), ("per_view", False, 8)])


@FULL
@pytest.mark.parametrize("full_from", [0, 5])
def test_a_step_that_does_not_fit_is_taken_again_with_the_same_result(batch_norm, freeze, room, full_from):
    """Six steps in float64 beside six with plenty of memory."""
    found = []
    for network in (encoder(), encoder(room, full_from)):
        learner = Byol(network, recipe(batch_norm), freeze=freeze).double()
        optimiser, generator = adam(learner, recipe(batch_norm)), torch.Generator().manual_seed(1)
        thrifty = ThriftyBackward(economies(recipe(batch_norm), freeze, 16), NO_BATCHES)
        losses = []
        for _ in range(6):
            views = [torch.rand((8, 3, 16, 16), generator=generator, dtype=torch.float64) for _ in range(2)]
            losses.append(step(learner, optimiser, *views, bfloat16=False, gradients=thrifty))
        found.append({"losses": torch.stack(losses), **state(learner)})
    close(*found, atol=1e-9)
    assert thrifty.ways[0].parts == 16 // room


@FULL
def test_a_training_whose_memory_fills_goes_on_in_parts(tmp_path, caplog, batch_norm, freeze, room):
    """In the middle of its first epoch, once and for all."""
    expected = trained(tmp_path, "plenty", encoder(), batch_norm, freeze)
    with caplog.at_level(logging.WARNING):
        found = trained(tmp_path, "little", encoder(room, full_from=2), batch_norm, freeze)
    assert found == pytest.approx(expected, abs=2e-3)  # rounding to float32, enlarged by Adam
    told = [record.getMessage() for record in caplog.records]
    assert told[-1] == f"the memory of cpu is full: {room} of 16 views at once from here on"
    assert len(told) == {4: 2, 8: 1}[room], "16 views, then 8, then 4, and no more is tried"


def test_running_statistics_of_a_failed_pass_do_not_stay():
    learner = Byol(encoder(room=8), recipe("per_view"), freeze=False)
    views = torch.rand(8, 3, 16, 16), torch.rand(8, 3, 16, 16)
    expected = copy.deepcopy(learner)
    backward(expected, *views, FLOAT, Economy(2))
    thrifty = ThriftyBackward([Economy(1), Economy(2)], NO_BATCHES)
    thrifty(learner, *views, FLOAT)
    assert thrifty.ways == [Economy(2)]
    assert all(torch.equal(a, b) for a, b in zip(learner.buffers(), expected.buffers(), strict=True))
    assert int(learner.encoder.network.layers[1].num_batches_tracked) == 2  # pyright: ignore


def test_pixels_leave_the_device_before_a_step_is_taken_apart(caplog):
    batches = Batches(PIXELS, np.arange(26), CPU, keep=False)
    batches.kept = torch.from_numpy(PIXELS)
    views = torch.rand(8, 3, 16, 16), torch.rand(8, 3, 16, 16)
    thrifty = ThriftyBackward([Economy(1), Economy(2)], batches)
    with caplog.at_level(logging.WARNING):
        thrifty(Byol(encoder(room=8), recipe("per_view"), freeze=False), *views, FLOAT)
    assert batches.kept is None
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        "pixels stay in the computer's from here on",
        "8 of 16 views at once from here on",
    ]


def test_a_step_that_fits_in_no_way_says_what_to_lower(tmp_path):
    with pytest.raises(MemoryError, match=r"the CPU.* is full, 1 of 16 views at once.*lower batch_size or image_size"):
        trained(tmp_path, "none", encoder(room=0), "concat", freeze=True)


def test_another_error_is_no_full_memory(tmp_path):
    with pytest.raises(RuntimeError, match="expected input"):
        trained(
            tmp_path,
            "wrong",
            Encoder(nn.Conv2d(5, 1, 3), backbone="x", start="x", feature_size=1, mean=(0.5,) * 3, std=(1.0,) * 3),
            "concat",
            freeze=True,
        )


def test_two_devices_go_back_to_the_last_whole_epoch(tmp_path, caplog):
    expected = trained(tmp_path, "plenty", encoder(), "concat", True, [CPU, CPU])
    with caplog.at_level(logging.WARNING):
        found = trained(tmp_path, "little", encoder(room=4), "concat", True, [CPU, CPU])
    assert found == pytest.approx(expected, abs=2e-3)
    assert "from the last whole epoch on" in caplog.records[-1].getMessage()


# compiling


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for the CPU with g++")
def test_a_compiled_forward_pass_gives_the_same_gradients():
    learner = Byol(small_encoder(), recipe("per_view"), freeze=False)
    views = torch.rand(8, 3, 16, 16), torch.rand(8, 3, 16, 16)
    before = state(learner)
    compiled_where_faster(learner, views, FLOAT)
    assert all(parameter.grad is None for parameter in learner.parameters())
    close(before, state(learner), atol=0)
    expected = copy.deepcopy(learner)
    backward(expected, *views, FLOAT)
    backward(learner, *views, FLOAT, forward=torch.compile(learner, dynamic=False))
    close(state(expected), state(learner), atol=1e-6)
    for a, b in zip(expected.parameters(), learner.parameters(), strict=True):
        if a.grad is not None and b.grad is not None:
            torch.testing.assert_close(b.grad, a.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("compiled", "told"),
    [
        (lambda learner, **_: lambda *views: 1 / 0, "not compiled: division by zero"),
        (lambda learner, **_: lambda *views: 2 * learner(*views), "not compiled: the loss would be"),
        (lambda learner, **_: lambda *views: [learner(*views) for _ in range(9)][-1], "not used"),
        (lambda learner, **_: lambda *views: learner.quick(*views), ": used"),
    ],
    ids=["fails", "another loss", "slower", "faster"],
)
def test_compiling_is_tried_and_dropped_where_it_does_not_help(monkeypatch, caplog, compiled, told):
    class Slow(Byol):
        def quick(self, *views):
            return Byol.forward(self, *views)

        def forward(self, view1, view2):
            for _ in range(3):
                super().forward(view1, view2)
            return super().forward(view1, view2)

    learner = Slow(small_encoder(), recipe("concat"), freeze=True)
    learner.projector, learner.target_projector, learner.predictor = nn.Identity(), nn.Identity(), nn.Identity()
    monkeypatch.setattr(byol_gradients.torch, "compile", compiled)
    with caplog.at_level(logging.INFO, logger=byol_gradients.__name__):
        forward = compiled_where_faster(learner, [torch.rand(8, 3, 16, 16) for _ in range(2)], FLOAT)
    assert told in caplog.records[-1].getMessage()
    assert (forward is learner) == (told != ": used")


def test_shares_of_a_batch_are_augmented_as_the_whole_batch():
    from galaxy_assets.science.distributed import Share

    pixels = torch.from_numpy(PIXELS[:8]).permute(0, 3, 1, 2)
    noisy = recipe("concat").model_copy(update={"noise": 0.1, "contrast": 0.2})
    whole = augment(pixels, noisy, torch.Generator().manual_seed(3), 16)
    for rank in range(2):
        share = Share(rank, 2)
        part = augment(share.of(pixels), noisy, torch.Generator().manual_seed(3), 16, share)
        torch.testing.assert_close(part, share.of(whole), atol=1e-6, rtol=0)
