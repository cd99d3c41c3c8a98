"""What start weights, encoders and trainers promise, as tests that the author of one can import and run.

    from galaxy_assets.plugins.training_contracts import check_trainer

    def test_my_trainer():
        check_trainer("my_trainer")

Belongs here: one function per kind, which raises AssertionError with what is broken. Does not belong here: the promises
in words (`protocols`), the other kinds (`contracts`), and tests of what a plug-in is good for.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from galaxy_assets import plugins

if TYPE_CHECKING:
    import torch

    from galaxy_assets.plugins.training_protocols import EncoderNetwork, StartWeights, Trainer
    from galaxy_assets.science.encoders.network import Encoder
    from galaxy_assets.science.training import EpochResult
    from galaxy_assets.settings.recipe import Recipe


def check_start_weights(
    name: str, *, backbone: str = "resnet18", weights: Path = Path("data/weights"), rgz: Path | None = None
) -> None:
    """Check start weights: equal for equal seeds, usable, and loaded again from what a checkpoint holds.

    Parameters
    ----------
    name : str
        Registered under kind `start_weights`.
    backbone : str
        One it has weights for.
    weights : Path
        Folder of downloaded weights.
    rgz : Path, optional
        Radio Galaxy Zoo checkpoint.

    Raises
    ------
    AssertionError
        With what is broken.
    PluginError
        Where no such plug-in is registered.
    """
    import torch

    from galaxy_assets.science.encoders.network import Encoder, encoder_from_tensors, encoder_to_tensors, state_sha256
    from galaxy_assets.science.encoders.weights import WeightFiles

    make: StartWeights = plugins.load("start_weights", name)
    before = torch.random.get_rng_state()
    first, again = (make(backbone, seed=1, files=WeightFiles(weights, rgz)) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before), f"{name} changes the global random state: use `seeded`"
    assert isinstance(first, Encoder), f"{name} returns a {type(first).__name__}, not an Encoder"
    assert state_sha256(first) == state_sha256(again), f"{name} gives other weights for the same seed"
    assert first.backbone == backbone, f"{name} says backbone {first.backbone!r} for {backbone!r}"
    features = _features(first)
    assert np.isfinite(features).all(), f"{name}: features that are not finite"
    loaded = _features(encoder_from_tensors(*encoder_to_tensors(first)))
    assert np.array_equal(loaded, features), f"{name}: loaded from its checkpoint it gives other features"


def check_encoder(name: str, *, backbone: str = "resnet18", channels: int = 3, side: int = 64) -> None:
    """Check an architecture: it maps images to vectors one by one, and takes the weights of another of its kind.

    Parameters
    ----------
    name : str
        Registered under kind `encoders`.
    backbone : str
        One it has.
    channels, side : int
        Of the images it takes; side in pixels.

    Raises
    ------
    AssertionError
        With what is broken.
    PluginError
        Where no such plug-in is registered.
    """
    import torch

    from galaxy_assets.science.encoders.network import seeded

    make: EncoderNetwork = plugins.load("encoders", name)
    networks = []
    for seed in (1, 1, 2):
        with seeded(seed):
            networks.append(make(backbone).eval())
    first, again, other = networks
    images = torch.rand((3, channels, side, side), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = first(images)
        assert features.ndim == 2 and len(features) == 3, f"{name}: features {tuple(features.shape)}, not (3, F)"
        assert torch.equal(again(images), features), f"{name} draws its weights from more than the global seed"
        alone = torch.cat([first(image[None]) for image in images])
        assert torch.allclose(alone, features, atol=1e-4), f"{name}: features depend on the rest of the batch"
        other.load_state_dict(first.state_dict())
        assert torch.equal(other(images), features), f"{name}: its state_dict does not hold all that decides features"


def check_trainer(name: str, *, recipe: Recipe | None = None) -> None:
    """Check a trainer on eleven noise images: epochs, resuming, equal results and refusals.

    Parameters
    ----------
    name : str
        Registered under kind `trainers`.
    recipe : Recipe, optional
        What the trainer can do, where the default does not suit it. Small sizes, two epochs and batches of four are
        set in it.

    Raises
    ------
    AssertionError
        With what is broken.
    PluginError
        Where no such plug-in is registered.
    """
    training = _Training(name, recipe)
    straight, losses = training.run(_Memory())
    assert list(losses) == [1, 2], f"{name} calls on_epoch for {list(losses)}, not for 1, 2"
    assert all(np.isfinite(loss) for loss in losses.values()), f"{name}: losses {losses}"
    assert not _equal(straight, training.start()), f"{name} leaves the weights as they were"
    repeated, same = training.run(_Memory())
    assert _equal(straight, repeated) and same == losses, f"{name} gives other weights when called again"
    state = _check_resuming(training, straight, losses)
    _check_refusal(training, _Memory(), 3, f"{name} takes a batch larger than the set")
    _check_refusal(training, state, 8, f"{name} resumes from the state of another training set")


def _check_resuming(training: _Training, straight: Encoder, losses: dict[int, float]) -> _Memory:
    """Kill the training in its second epoch and call it again, twice; its state afterwards."""
    name, state = training.recipe.trainer, _Memory()
    try:
        training.run(state, kill_at=2)
    except InterruptedError:
        pass
    else:
        raise AssertionError(f"{name} swallows what on_epoch raises")
    resumed, rest = training.run(state)
    assert list(rest) == [2], f"{name}, killed in epoch 2, goes on with {list(rest)}: it must repeat 2 and nothing else"
    assert rest == {2: losses[2]} and _equal(straight, resumed), f"{name} resumed gives other weights than in one go"
    finished, none = training.run(state)
    assert not none and _equal(straight, finished), f"{name}, called when all is done, trains again"
    return state


def _check_refusal(training: _Training, state: _Memory, rows: int, what: str) -> None:
    try:
        training.run(state, rows=rows)
    except ValueError:
        return
    raise AssertionError(f"{what}; raise ValueError with the remedy")


class _Memory:
    """A `TrainingState` in memory. As a file's, what is read is tensors and plain values, and no pickled object."""

    def __init__(self) -> None:
        self.written: bytes | None = None

    def read(self) -> dict[str, Any] | None:
        import torch

        return None if self.written is None else torch.load(io.BytesIO(self.written), weights_only=True)

    def write(self, saved: dict[str, Any]) -> None:
        import torch

        buffer = io.BytesIO()
        torch.save(saved, buffer)
        self.written = buffer.getvalue()


class _Training:
    """One small training, to be run several times."""

    def __init__(self, name: str, recipe: Recipe | None):
        from galaxy_assets.settings.recipe import Recipe

        small = {"image_size": 16, "epochs": 2, "batch_size": 4, "projection_size": 8, "projection_hidden_size": 16}
        recipe = recipe or Recipe(preset="paper", backbone="test_resnet", batch_norm="concat", learning_rate=1e-3)
        self.recipe = recipe.model_copy(update={**small, "trainer": name})
        self.train: Trainer = plugins.load("trainers", name)
        self.pixels = np.random.default_rng(0).integers(0, 256, (11, 20, 20, 3), np.uint8)

    def start(self) -> Encoder:
        from galaxy_assets.science.encoders.weights import build_encoder

        return build_encoder(self.recipe.backbone, "random", seed=0, weights=Path())

    def run(self, state: _Memory, *, rows: int = 11, kill_at: int = 0) -> tuple[Encoder, dict[int, float]]:
        """The trained encoder and its losses by epoch; InterruptedError out of the epoch to kill at."""
        import torch

        losses: dict[int, float] = {}

        def on_epoch(result: EpochResult, _: Encoder) -> None:
            losses[result.epoch] = result.loss
            if result.epoch == kill_at:
                raise InterruptedError

        given = self.start(), self.pixels, np.arange(rows), self.recipe
        devices = [torch.device("cpu")]
        return self.train(*given, freeze=False, devices=devices, state=state, on_epoch=on_epoch), losses


def _features(encoder: Encoder) -> np.ndarray:
    """Features of four noise images, 64 pixels a side."""
    import torch

    from galaxy_assets.science.encoders.embedding import embed

    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    return embed(encoder, images, device=torch.device("cpu"))


def _equal(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    import torch

    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a.cpu(), b.cpu()) for a, b in pairs)
