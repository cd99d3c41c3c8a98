"""What every trainer does around its steps: the order of the images, their views, and resuming after a whole epoch.

Belongs here: the loop over epochs and what it keeps and reports. Does not belong here: the learner, its loss and its
step (`byol`, `byol_pytorch`), drawing the views (`augmentation`), files (`storage.checkpoints`).
"""

import hashlib
import json
import logging
import math
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from galaxy_assets.science.augmentation import augment
from galaxy_assets.science.batches import Batches
from galaxy_assets.science.devices import fastest_convolutions
from galaxy_assets.science.distributed import Share
from galaxy_assets.science.encoders.network import Encoder
from galaxy_assets.science.threads import THREADS
from galaxy_assets.settings.progress import Progress, tell

if TYPE_CHECKING:
    from galaxy_assets.settings.recipe import Recipe

log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 20.0


@dataclass(frozen=True)
class EpochResult:
    """What one epoch measured.

    Attributes
    ----------
    epoch : int
        From 1.
    loss : float
        Mean per image, 0 to 8.
    learning_rate : float
    seconds : float
        Wall time.
    images_per_second : float
    memory_gb : float
        Peak so far, in GB (1e9 bytes), of the GPU, or of this process where there is none.
    """

    epoch: int
    loss: float
    learning_rate: float
    seconds: float
    images_per_second: float
    memory_gb: float

    asdict = asdict


OnEpoch = Callable[[EpochResult, Encoder], None]
Step = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class TimedOnEpoch:
    """An `on_epoch` of which it is known how long it takes, so that the first epoch tells the time left with it.

    Attributes
    ----------
    on_epoch : callable
    seconds : float
        Wall time of one call.
    """

    on_epoch: OnEpoch
    seconds: float

    def __call__(self, result: EpochResult, encoder: Encoder) -> None:
        """Do what `on_epoch` does."""
        self.on_epoch(result, encoder)


class TrainingState(Protocol):
    """Where a training keeps what it resumes from. `str` of it names it in messages; it can be pickled."""

    def read(self) -> dict[str, Any] | None:
        """Read what was written last.

        Returns
        -------
        dict or None
            Tensors are on the CPU; None where nothing was written.

        Raises
        ------
        ValueError
            Where the file cannot be read.
        """
        ...

    def write(self, saved: dict[str, Any]) -> None:
        """Replace what was written, whole or not at all.

        Parameters
        ----------
        saved : dict
            Tensors, numbers, text, lists and dicts.
        """
        ...


def check_batch(indices: np.ndarray, recipe: "Recipe") -> None:
    """Check that a training set fills a batch.

    Parameters
    ----------
    indices : ndarray of int
        The training set.
    recipe : Recipe
        `batch_size` is used.

    Raises
    ------
    ValueError
        Where the batch is larger than the set.
    """
    if len(indices) < recipe.batch_size:
        raise ValueError(
            f"batch_size {recipe.batch_size} is larger than the training set of {len(indices)} images; lower it"
        )


def adam(learner: nn.Module, recipe: "Recipe") -> torch.optim.Adam:
    """The paper's optimiser (Table 1), over the online network.

    Parameters
    ----------
    learner : nn.Module
        Parameters without a gradient (the target network's) are left out.
    recipe : Recipe
        `learning_rate` is used.

    Returns
    -------
    torch.optim.Adam
    """
    online = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    return torch.optim.Adam(online, lr=recipe.learning_rate, fused=True)


def identity(encoder: Encoder, indices: np.ndarray, recipe: "Recipe", freeze: bool) -> dict[str, Any]:
    """What a training is, as JSON values: the state of another one is not resumed from.

    Parameters
    ----------
    encoder : Encoder
        With the start weights.
    indices : ndarray of int
        The training set.
    recipe : Recipe
    freeze : bool
        Whether the encoder's batch normalisation keeps its statistics.

    Returns
    -------
    dict
    """
    return {
        "recipe": recipe.of_epochs().deciding(),
        "freeze": freeze,
        "backbone": encoder.backbone,
        "start": encoder.start,
        "indices": hashlib.sha256(indices.tobytes()).hexdigest(),
    }


@dataclass(frozen=True)
class ResumableTraining:
    """A learner in one of the processes that train it.

    Parameters
    ----------
    learner : nn.Module
        What `state` keeps beside the optimiser; `train()` puts it into training mode.
    encoder : Encoder
        The part of the learner that is trained for its features.
    optimiser : torch.optim.Optimizer
    recipe : Recipe
        Epochs, batch, views and seed.
    state : TrainingState
    identity : dict
        See `identity`.
    device : torch.device
    share : Share
        This process's part of every batch.
    """

    learner: nn.Module
    encoder: Encoder
    optimiser: torch.optim.Optimizer
    recipe: "Recipe"
    state: TrainingState
    identity: dict[str, Any]
    device: torch.device
    share: Share = Share()

    def resume(self) -> int:
        """Load the state, if there is one.

        Returns
        -------
        int
            Its epoch, else 0.

        Raises
        ------
        ValueError
            Where the state is damaged or that of another training, with the remedy.
        """
        saved = self.state.read()
        if saved is None:
            return 0
        remedy = f"delete {self.state} to train from the start"
        try:
            found = json.loads(saved["identity"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{self.state} is not a whole training state ({error}); {remedy}") from error
        if differs := [name for name in self.identity if found.get(name) != self.identity[name]]:
            raise ValueError(
                f"{self.state} is the state of another training (it differs in {', '.join(differs)}); {remedy}"
            )
        self.learner.load_state_dict(saved["learner"])
        self.optimiser.load_state_dict(saved["optimiser"])
        log.info("resuming after epoch %d from %s", saved["epoch"], self.state)
        return saved["epoch"]

    def first_views(self, batches: Batches) -> list[Tensor]:
        """Two views of the first images, to try a step on.

        Parameters
        ----------
        batches : Batches
            The pixels of the training set.

        Returns
        -------
        list of Tensor
            Two of shape (B, C, H, W).
        """
        size = self.recipe.batch_size // self.share.processes
        batch = next(batches(np.arange(size), size))
        return self._views(batch, torch.Generator().manual_seed(self.recipe.seed))

    def run(self, done: int, batches: Batches, step: Step, on_epoch: OnEpoch | None) -> None:
        """Train from the epoch after `done` to the recipe's last.

        Parameters
        ----------
        done : int
            Epochs already trained.
        batches : Batches
            The pixels of the training set.
        step : callable
            One training step on two views (B, C, H, H) of this process's images; returns its loss, detached.
        on_epoch : callable or None
            Called after every epoch, before it enters the state; None in the processes that only compute.

        Raises
        ------
        FloatingPointError
            Where the loss is not finite.
        """
        # seconds that an epoch takes beside its steps: what on_epoch measures, and writing the state
        between = on_epoch.seconds if isinstance(on_epoch, TimedOnEpoch) else 0.0
        for epoch in range(done + 1, self.recipe.epochs + 1):
            with fastest_convolutions(self.device):
                result = self._epoch(epoch, batches, step, between)
            if on_epoch is None:
                continue
            ended = time.monotonic()
            on_epoch(result, self.encoder)
            self.state.write(
                {
                    "identity": json.dumps(self.identity),
                    "epoch": epoch,
                    "learner": self.learner.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                }
            )
            between = time.monotonic() - ended
            left = (self.recipe.epochs - epoch) * (result.seconds + between)
            speed = result.images_per_second
            tell(log, Progress("training", epoch, self.recipe.epochs, "epochs", speed, left), f"loss {result.loss:.4f}")

    def _epoch(self, epoch: int, batches: Batches, step: Step, between: float) -> EpochResult:
        """One epoch. Its order and views follow from the recipe's seed and its number alone.

        The time left that is told counts `between` seconds after every epoch. A GPU is waited for at the end, and where
        progress is told.
        """
        recipe, steps = self.recipe, len(batches.rows) // self.recipe.batch_size
        generator = torch.Generator()
        generator.manual_seed(int(np.random.SeedSequence((recipe.seed, epoch)).generate_state(1)[0]))
        order = self.share.of_each(torch.randperm(len(batches.rows), generator=generator), recipe.batch_size).numpy()
        self.learner.train()
        total = torch.zeros((), device=self.device)
        began = reported = time.monotonic()
        for i, batch in enumerate(batches(order, recipe.batch_size // self.share.processes)):
            THREADS.adapt()
            total += step(*self._views(batch, generator))
            now = time.monotonic()
            if now - reported > _PROGRESS_SECONDS and i < steps - 1:
                reported = now
                _check_finite(float(total), epoch)
                speed = (i + 1) * recipe.batch_size / (now - began)
                epochs = recipe.epochs - epoch + 1
                left = (epochs * steps - i - 1) * recipe.batch_size / speed + epochs * between
                tell(log, Progress(f"training, epoch {epoch} of {recipe.epochs}", i + 1, steps, "steps", speed, left))
        loss = float(self.share.mean(total)) / steps
        _check_finite(loss, epoch)
        seconds = time.monotonic() - began
        speed = steps * recipe.batch_size / seconds
        return EpochResult(epoch, loss, recipe.learning_rate, seconds, speed, _memory(self.device))

    def _views(self, batch: Tensor, generator: torch.Generator) -> list[Tensor]:
        """Two random views of this process's share of a batch (B, H, H, C)."""
        images, recipe = batch.permute(0, 3, 1, 2), self.recipe
        views = [augment(images, recipe, generator, recipe.image_size, self.share) for _ in range(2)]
        return [view.contiguous(memory_format=torch.channels_last) for view in views]


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _check_finite(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(f"loss of epoch {epoch} is {loss}; lower learning_rate or check the pixels for NaN")
