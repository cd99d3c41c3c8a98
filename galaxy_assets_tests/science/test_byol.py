"""The training step against byol-pytorch, and the loop's promises: exact resumption, clear refusals."""

import copy
import logging
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from byol_pytorch import BYOL
from torch import nn

from galaxy_assets.science import training
from galaxy_assets.science.byol import Byol, step, train
from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.network import Encoder, seeded
from galaxy_assets.science.encoders.weights import build_encoder
from galaxy_assets.science.training import EpochResult, adam
from galaxy_assets.settings import progress
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.storage.checkpoints import StateFile

CPU = torch.device("cpu")
SMALL = Recipe(
    preset="paper",
    backbone="test_resnet",
    image_size=16,
    epochs=4,
    batch_size=4,
    learning_rate=1e-3,
    projection_size=8,
    projection_hidden_size=16,
)


def small_encoder() -> Encoder:
    """A small convolutional network. It does not average over the image: noise images would then look alike, the heads'
    batch normalisation would enlarge rounding errors, and Adam turns those into steps of the biases before it."""
    with seeded(0):
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3), nn.Flatten()
        )
    size = network.eval()(torch.zeros(1, 3, 16, 16)).shape[1]
    return Encoder(network, backbone="small", start="random", feature_size=size, mean=(0.5,) * 3, std=(0.25,) * 3)


def resnet(tmp_path) -> Encoder:
    return build_encoder("resnet18", "random", seed=0, weights=tmp_path)


def first_view(images: torch.Tensor) -> torch.Tensor:
    return images.flip(3)


def second_view(images: torch.Tensor) -> torch.Tensor:
    return 0.9 * images.transpose(2, 3) + 0.05


def theirs(ours: Byol, recipe: Recipe) -> BYOL:
    """byol-pytorch's learner with exactly our weights and buffers; its constructor's noise is thereby undone."""
    learner = BYOL(
        copy.deepcopy(ours.encoder).float(),
        recipe.image_size,
        hidden_layer=-1,
        projection_size=recipe.projection_size,
        projection_hidden_size=recipe.projection_hidden_size,
        augment_fn=first_view,
        augment_fn2=second_view,
        moving_average_decay=recipe.tau,
        use_simplicial_embeddings=False,
    ).double()
    learner.online_encoder.load_state_dict(online_state(ours))
    learner.target_encoder.load_state_dict(target_state(ours))
    learner.online_predictor.load_state_dict(ours.predictor.state_dict())
    return learner


def online_state(ours: Byol) -> dict[str, torch.Tensor]:
    parts = {"net": ours.encoder, "projector": ours.projector}
    return {f"{part}.{name}": t for part, module in parts.items() for name, t in module.state_dict().items()}


def target_state(ours: Byol) -> dict[str, torch.Tensor]:
    parts = {"net": ours.target_encoder, "projector": ours.target_projector}
    return {f"{part}.{name}": t for part, module in parts.items() for name, t in module.state_dict().items()}


def per_view_loss(learner: BYOL, images: torch.Tensor) -> torch.Tensor:
    """The forward pass of byol-pytorch up to 0.7: every view through every network by itself."""
    one, two = first_view(images), second_view(images)
    p1 = learner.online_predictor(learner.online_encoder(one)[0])
    p2 = learner.online_predictor(learner.online_encoder(two)[0])
    with torch.no_grad():
        z1, z2 = (learner.target_encoder(view)[0] for view in (one, two))
    normal = nn.functional.normalize
    first = 2 - 2 * (normal(p1, dim=-1) * normal(z2, dim=-1)).sum(-1)
    second = 2 - 2 * (normal(p2, dim=-1) * normal(z1, dim=-1)).sum(-1)
    return (first + second).mean()


@pytest.mark.parametrize("batch_norm", ["concat", "per_view"])
@pytest.mark.parametrize("network", ["small", "resnet18"])
def test_eight_steps_equal_byol_pytorch(tmp_path, network, batch_norm):
    recipe = Recipe(
        preset="paper", image_size=16, batch_norm=batch_norm, projection_size=16, projection_hidden_size=64, tau=0.9
    )
    ours = Byol((small_encoder() if network == "small" else resnet(tmp_path)).double(), recipe, freeze=False).double()
    reference = theirs(ours, recipe)
    optimiser, reference_optimiser = adam(ours, recipe), torch.optim.Adam(reference.parameters(), lr=1e-4)
    generator = torch.Generator().manual_seed(1)
    before = copy.deepcopy(target_state(ours))
    for _ in range(8):
        images = torch.rand((6, 3, 16, 16), generator=generator, dtype=torch.float64)
        expected = reference(images) if batch_norm == "concat" else per_view_loss(reference, images)
        reference_optimiser.zero_grad()
        expected.backward()
        reference_optimiser.step()
        reference.update_moving_average()
        loss = step(ours, optimiser, first_view(images), second_view(images), bfloat16=False)
        assert float(loss) == pytest.approx(expected.item(), abs=1e-10)
    states = [
        (online_state(ours), reference.online_encoder.state_dict()),
        (target_state(ours), reference.target_encoder.state_dict()),
        (ours.predictor.state_dict(), reference.online_predictor.state_dict()),
    ]
    for mine, other in states:
        assert mine.keys() == other.keys()
        for name, tensor in mine.items():
            torch.testing.assert_close(tensor, other[name], atol=1e-10, rtol=0, msg=name)
    assert not all(torch.equal(tensor, before[name]) for name, tensor in target_state(ours).items())


def test_the_two_readings_of_batch_normalisation_differ():
    views = torch.rand(6, 3, 16, 16), torch.rand(6, 3, 16, 16)
    both = SMALL.model_copy(update={"batch_norm": "concat"})
    per_view, concat = (Byol(small_encoder(), r, freeze=False)(*views) for r in (SMALL, both))
    assert abs((per_view - concat).item()) > 1e-4


def test_constructor_leaves_the_encoder_and_the_random_state_alone():
    encoder = small_encoder()
    before = copy.deepcopy(encoder.state_dict())
    state = torch.random.get_rng_state()
    learner = Byol(encoder, SMALL, freeze=False)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.encoder.state_dict().items())


def test_loss_is_bounded_by_agreement_and_opposition():
    """Identity heads make the loss 0 for equal views; a predictor that turns the sign makes it 8."""
    learner = Byol(small_encoder(), SMALL, freeze=False)
    learner.projector, learner.target_projector, learner.predictor = nn.Identity(), nn.Identity(), nn.Identity()
    view, size = torch.rand(6, 3, 16, 16), learner.encoder.feature_size
    assert learner(view, view).item() == pytest.approx(0, abs=1e-5)
    learner.predictor = nn.Linear(size, size, bias=False)
    learner.predictor.weight.data = -torch.eye(size)
    assert learner(view, view).item() == pytest.approx(8, abs=1e-5)


def statistics(module: nn.Module) -> torch.Tensor:
    return torch.cat([t.flatten().double() for name, t in module.state_dict().items() if "running" in name])


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_statistics_stay_and_the_heads_still_train(freeze):
    learner = Byol(small_encoder(), SMALL, freeze=freeze)
    parts = [learner.encoder, learner.target_encoder, learner.projector, learner.target_projector]
    before = [statistics(part) for part in parts]
    weights = [p.clone() for p in learner.encoder.parameters()]
    step(learner, adam(learner, SMALL), torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16), bfloat16=False)
    kept = [torch.equal(statistics(part), b) for part, b in zip(parts, before, strict=True)]
    assert kept == [freeze, freeze, False, False]
    assert not any(torch.equal(p, w) for p, w in zip(learner.encoder.parameters(), weights, strict=True))


def test_bfloat16_step_is_close_and_its_loss_is_float32():
    losses = []
    for bfloat16 in (False, True):
        learner = Byol(small_encoder(), SMALL, freeze=False)
        generator = torch.Generator().manual_seed(0)
        views = (torch.rand((32, 3, 16, 16), generator=generator) for _ in range(2))
        losses.append(step(learner, adam(learner, SMALL), *views, bfloat16=bfloat16))
    assert losses[1].dtype == torch.float32
    assert float(losses[0]) != float(losses[1])
    assert float(losses[0]) == pytest.approx(float(losses[1]), abs=0.1)


# the loop


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (11, 20, 20, 3), np.uint8)


def run(pixels, tmp_path, name="state.pt", recipe=SMALL, on_epoch=lambda result, encoder: None, rows=None):
    encoder = build_encoder(recipe.backbone, "random", seed=0, weights=tmp_path)
    rows = np.arange(11) if rows is None else rows
    return train(
        encoder, pixels, rows, recipe, freeze=False, devices=[CPU], state=StateFile(tmp_path / name), on_epoch=on_epoch
    )


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class Killed(Exception):
    pass


def test_a_killed_training_resumes_bit_for_bit_and_skips_no_epoch(pixels, tmp_path):
    straight: list[EpochResult] = []
    expected = run(pixels, tmp_path, "straight.pt", on_epoch=lambda result, _: straight.append(result))
    seen: list[EpochResult] = []

    def kill_once(result: EpochResult, encoder: Encoder) -> None:
        seen.append(result)
        if [r.epoch for r in seen] == [1, 2]:
            raise Killed

    with pytest.raises(Killed):
        run(pixels, tmp_path, on_epoch=kill_once)
    torch.rand(7)  # whatever else the process did must not matter
    resumed = run(pixels, tmp_path, on_epoch=kill_once)
    assert [r.epoch for r in seen] == [1, 2, 2, 3, 4]
    assert [r.loss for r in seen[2:]] == [r.loss for r in straight[1:]]
    assert seen[1].loss == seen[2].loss
    assert same_weights(resumed, expected)
    assert not same_weights(resumed, build_encoder(SMALL.backbone, "random", seed=0, weights=tmp_path))

    finished = run(pixels, tmp_path, on_epoch=kill_once)
    assert len(seen) == 5
    assert same_weights(finished, expected)


def test_results_and_log_say_what_happened(pixels, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(training, "_PROGRESS_SECONDS", 0.0)
    results: list[EpochResult] = []
    with caplog.at_level(logging.INFO, logger=training.__name__):
        run(pixels, tmp_path, on_epoch=lambda result, _: results.append(result))
    assert [r.epoch for r in results] == [1, 2, 3, 4]
    assert all(0 < r.loss < 8 and r.learning_rate == SMALL.learning_rate for r in results)
    # 11 images make two whole batches of four
    assert all(r.images_per_second * r.seconds == pytest.approx(8) for r in results)
    lines = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith("training, epoch 3 of 4: 1 of 2 steps, ") for line in lines) == 1
    assert sum(line.startswith("training: 3 of 4 epochs, ") and "; loss " in line for line in lines) == 1


@pytest.mark.parametrize("done", [0, 2])
def test_the_time_left_counts_what_follows_an_epoch_from_the_first_one_on(pixels, tmp_path, caplog, monkeypatch, done):
    monkeypatch.setattr(training, "_PROGRESS_SECONDS", 0.0)

    def on_epoch(result: EpochResult, _: Encoder) -> None:
        if result.epoch == done + 1:
            raise Killed

    if done:
        with pytest.raises(Killed):
            run(pixels, tmp_path, on_epoch=on_epoch)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger=training.__name__), pytest.raises(Killed):
        run(pixels, tmp_path, on_epoch=training.TimedOnEpoch(on_epoch, 3600.0))
    told = [found for record in caplog.records if (found := progress.read(record.getMessage()))]
    assert [one.what for one in told] == [f"training, epoch {done + 1} of 4"]
    assert told[0].left == pytest.approx((4 - done) * 3600, rel=0.05)


def test_rows_outside_the_indices_do_not_matter(pixels, tmp_path):
    rows = np.array([9, 1, 2, 3, 5, 7, 8, 10])
    whole = run(pixels, tmp_path, "whole.pt", rows=rows)
    changed = pixels.copy()
    changed[[0, 4, 6]] = 0
    assert same_weights(whole, run(changed, tmp_path, "changed.pt", rows=rows))


def test_seed_decides_the_run(pixels, tmp_path):
    other = SMALL.model_copy(update={"seed": 1})
    assert not same_weights(run(pixels, tmp_path, "a.pt"), run(pixels, tmp_path, "b.pt", recipe=other))


def test_every_epoch_has_its_own_order_and_views(pixels, tmp_path):
    """With a network that stands still, only order and views can change the loss."""
    losses: list[float] = []
    still = SMALL.model_copy(update={"learning_rate": 1e-30})
    run(pixels, tmp_path, recipe=still, on_epoch=lambda result, _: losses.append(result.loss))
    assert len({round(loss, 6) for loss in losses}) == 4


def test_embedding_in_on_epoch_does_not_disturb_the_training(pixels, tmp_path):
    quiet = run(pixels, tmp_path, "quiet.pt")
    watched = run(pixels, tmp_path, "watched.pt", on_epoch=lambda _, encoder: embed(encoder, pixels, device=CPU))
    assert same_weights(quiet, watched)


def test_a_batch_larger_than_the_set_is_refused(pixels, tmp_path):
    with pytest.raises(ValueError, match="batch_size 4 is larger than the training set of 3 images"):
        run(pixels, tmp_path, rows=np.arange(3))


def test_rows_outside_the_images_are_refused(pixels, tmp_path):
    with pytest.raises(IndexError, match="out of bounds"):
        run(pixels, tmp_path, rows=np.arange(5, 13))


def test_a_damaged_or_foreign_state_is_refused_and_named(pixels, tmp_path):
    state = tmp_path / "state.pt"
    run(pixels, tmp_path)
    whole = state.read_bytes()
    with pytest.raises(ValueError, match=r"another training \(it differs in indices\); delete .*state.pt"):
        run(pixels, tmp_path, rows=np.arange(8))
    with pytest.raises(ValueError, match=r"differs in recipe"):
        run(pixels, tmp_path, recipe=SMALL.model_copy(update={"learning_rate": 1e-2}))
    for damaged in (whole[: len(whole) // 2], b"", b"not a state"):
        state.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"state.pt is not a whole training state"):
            run(pixels, tmp_path)
    torch.save({"epoch": 1}, state)
    with pytest.raises(ValueError, match=r"delete .*state.pt to train from the start"):
        run(pixels, tmp_path)


def test_divergence_names_the_epoch_and_keeps_the_last_state(pixels, tmp_path):
    def poison(result: EpochResult, encoder: Encoder) -> None:
        if result.epoch == 2:
            next(encoder.parameters()).data.fill_(torch.nan)

    with pytest.raises(FloatingPointError, match="loss of epoch 3 is nan; lower learning_rate"):
        run(pixels, tmp_path, on_epoch=poison)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["epoch"] == 2


# killed for real

CHILD = """
import os, signal, sys
from pathlib import Path
import numpy as np, torch
from galaxy_assets.science import byol
from galaxy_assets_tests.science.test_byol import SMALL, run

folder, moment, epoch = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
torch.set_num_threads(1)
steps, saves, plain_step, plain_save = [], [], byol.step, torch.save

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def step(*arguments, **settings):
    steps.append(1)
    if moment == "step" and len(steps) == 2 * (epoch - 1) + 2:  # the second of the epoch's two steps
        die()
    return plain_step(*arguments, **settings)

def save(state, path):
    plain_save(state, path)
    saves.append(1)
    if moment == "write" and len(saves) == epoch:
        os.truncate(path, Path(path).stat().st_size // 2)
        die()

byol.step, torch.save = step, save
pixels = np.random.default_rng(0).integers(0, 256, (11, 20, 20, 3), np.uint8)
run(pixels, folder, on_epoch=lambda result, _: print(result.epoch, repr(result.loss), flush=True))
"""


def losses_of_child(folder, *arguments: str) -> tuple[int, list[list[str]]]:
    """Exit status of a training in a process of its own, and its lines of epoch and loss."""
    child = subprocess.run([sys.executable, "-c", CHILD, str(folder), *arguments], capture_output=True, text=True)
    assert child.returncode in (0, -signal.SIGKILL), child.stderr
    return child.returncode, [line.split() for line in child.stdout.splitlines()]


def test_sigkill_in_an_epoch_and_in_a_write_changes_no_loss(tmp_path):
    status, straight = losses_of_child(tmp_path / "straight", "never", "0")
    assert status == 0 and [epoch for epoch, _ in straight] == ["1", "2", "3", "4"]
    interrupted = tmp_path / "interrupted"
    status, first = losses_of_child(interrupted, "step", "2")  # between the two steps of epoch 2
    assert status == -signal.SIGKILL
    status, second = losses_of_child(interrupted, "write", "2")  # while the state of epoch 3 is written
    assert status == -signal.SIGKILL
    status, third = losses_of_child(interrupted, "never", "0")
    assert status == 0
    assert [epoch for epoch, _ in first + second + third] == ["1", "2", "3", "3", "4"]
    assert first + second + third[1:] == straight
    assert third[0] == second[1]
