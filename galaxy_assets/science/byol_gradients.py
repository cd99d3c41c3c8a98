"""The gradients of a BYOL step, in as much memory as the device has, and compiled where that is faster.

Belongs here: the backward pass whole and in parts, what to do when memory is full, compiling the forward pass. Does
not belong here: the networks and their loss, the step around it (`byol`).
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from galaxy_assets.science.batches import Batches
from galaxy_assets.science.devices import describe, fits

if TYPE_CHECKING:
    from galaxy_assets.science.byol import Byol
    from galaxy_assets.settings.recipe import Recipe

log = logging.getLogger(__name__)

Forward = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Economy:
    """How a step saves memory. The result is the same but for rounding.

    Attributes
    ----------
    parts : int
        The images pass through the encoder in so many parts, and gradients add up.
    on_host : bool
        What the backward pass needs waits in the memory of the computer; of use on CUDA alone.
    """

    parts: int = 1
    on_host: bool = False

    def words(self, views: int) -> str:
        """What a step on so many views does, for messages."""
        images = f"{-(-views // self.parts)} of {views} views at once"
        return images + (", their activations in the computer's memory" if self.on_host else "")


WHOLE = Economy()
"""No economy: all images at once."""


def economies(recipe: "Recipe", freeze: bool, images: int) -> list[Economy]:
    """The ways to take a step, from the one that takes most memory to the one that takes least.

    Images whose batch is normalised together cannot be taken apart. So with frozen statistics a step can pass image by
    image, with `per_view` view by view, and with `concat` in one piece alone.

    Parameters
    ----------
    recipe : Recipe
        `batch_norm` is used.
    freeze : bool
        Whether the encoder's batch normalisation keeps its statistics.
    images : int
        Views that one process has of a batch.

    Returns
    -------
    list of Economy
    """
    most = images if freeze else 2 if recipe.batch_norm == "per_view" else 1
    parts = sorted({most, *(2**i for i in range(most.bit_length()))})
    return [*map(Economy, parts), Economy(most, on_host=True)]


def backward(
    learner: "Byol",
    view1: Tensor,
    view2: Tensor,
    precision: torch.autocast,
    economy: Economy = WHOLE,
    forward: Forward | None = None,
) -> Tensor:
    """Add the gradients of the loss to those of the parameters.

    Parameters
    ----------
    learner : Byol
    view1, view2 : Tensor of shape (B, C, H, W), float
        In [0, 1].
    precision : torch.autocast
        In which the networks run.
    economy : Economy
        One of `economies`.
    forward : callable, optional
        The learner's forward pass where it is not itself: compiled.

    Returns
    -------
    Tensor, scalar
        The loss, detached.
    """
    on_host = economy.on_host and view1.is_cuda
    kept = torch.autograd.graph.save_on_cpu(pin_memory=True) if on_host else nullcontext()
    if economy.parts == 1:
        with kept, precision:
            loss = (learner if forward is None else forward)(view1, view2)
        loss.backward()
        return loss.detach()
    if learner.freeze:
        return _backward_by_image(learner, torch.cat([view1, view2]), precision, kept, economy.parts)
    # each view is normalised by itself, so each half of the loss has gradients of its own
    with torch.no_grad(), precision:
        targets = [learner.target(view) for view in (view1, view2)]
    halves = []
    for view, target in zip((view1, view2), reversed(targets), strict=True):
        with kept, precision:
            half = learner.half_loss(learner.online(view), target)
        half.backward()
        halves.append(half.detach())
    return halves[0] + halves[1]


def _backward_by_image(
    learner: "Byol",
    images: Tensor,
    precision: torch.autocast,
    kept: "nullcontext | torch.autograd.graph.save_on_cpu",
    parts: int,
) -> Tensor:
    """`backward` where each image passes through the encoder by itself and the heads alone see the whole batch.

    The features are computed without a graph, then the gradients of the features by the heads, and then the features of
    each part again, with a graph, for the gradients of the encoder (Gao et al. 2021, arXiv:2101.06983).
    """
    with torch.no_grad(), precision:
        features, targets = (
            torch.cat([encoder(part) for part in images.chunk(parts)])
            for encoder in (learner.encoder, learner.target_encoder)
        )
    features.requires_grad_()
    with precision:
        loss = learner.loss(features, targets)
    loss.backward()
    assert features.grad is not None
    for part, gradient in zip(images.chunk(parts), features.grad.chunk(parts), strict=True):
        with kept, precision:
            again = learner.encoder(part)
        again.backward(gradient)
    return loss.detach()


@dataclass
class ThriftyBackward:
    """`backward` in the first of some economies that fits; a step that does not fit is taken again.

    Attributes
    ----------
    ways : list of Economy
        From the one that takes most memory on; those that did not fit are gone.
    batches : Batches
        Pixels that a device gives up first.
    forward : callable or None
        As of `backward`.
    """

    ways: list[Economy]
    batches: Batches
    forward: Forward | None = None
    _statistics: "Statistics | None" = field(default=None, init=False)

    def __call__(self, learner: "Byol", view1: Tensor, view2: Tensor, precision: torch.autocast) -> Tensor:
        """Add the gradients; see `backward`.

        Raises
        ------
        MemoryError
            Where not even the last way fits, with the remedy.
        """
        if self._statistics is None:
            self._statistics = Statistics(learner)
        self._statistics.keep()
        while True:
            way, device = self.ways[0], view1.device
            loss = fits(lambda: backward(learner, view1, view2, precision, way, self.forward), device)  # noqa: B023
            if loss is not None:
                return loss
            learner.zero_grad(set_to_none=True)
            self._statistics.restore()
            if self.batches.release():
                log.warning("the memory of %s is full: pixels stay in the computer's from here on", device)
            elif len(self.ways) > 1:
                self.ways = self.ways[1:]
                log.warning("the memory of %s is full: %s from here on", device, self.ways[0].words(2 * len(view1)))
            else:
                raise MemoryError(
                    f"the memory of {describe(device).name} is full, {way.words(2 * len(view1))}; lower batch_size or "
                    "image_size, or end what else uses the device"
                )


class Statistics:
    """The running statistics of a network, to be put back after a pass that counts for nothing.

    Parameters
    ----------
    module : nn.Module
    """

    def __init__(self, module: nn.Module):
        buffers = list(module.buffers())
        # one kernel copies a list of tensors of one type
        self._now = [[b for b in buffers if b.is_floating_point() == floats] for floats in (True, False)]
        self._kept = [[buffer.clone() for buffer in group] for group in self._now]

    @torch.no_grad()
    def keep(self) -> None:
        """Remember them as they are."""
        for now, kept in zip(self._now, self._kept, strict=True):
            torch._foreach_copy_(kept, now)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def restore(self) -> None:
        """Put them back."""
        for now, kept in zip(self._now, self._kept, strict=True):
            torch._foreach_copy_(now, kept)  # pyright: ignore[reportPrivateImportUsage]


_ROUNDS = 5  # passes that are timed
_DIFFERS = 0.02  # share of the loss by which rounding to bfloat16 may move it


def compiled_where_faster(learner: "Byol", views: Sequence[Tensor], precision: torch.autocast) -> Forward:
    """The learner's forward pass, compiled where this device is faster with it; the log tells which it is.

    Both are tried on the same views and nothing of it is kept. Compiling takes a minute.

    Parameters
    ----------
    learner : Byol
        Has neither gradients nor other running statistics afterwards.
    views : sequence of Tensor
        Two of shape (B, C, H, W), float.
    precision : torch.autocast

    Returns
    -------
    callable
        The learner itself where compiling fails, gives another loss, or is no faster.
    """
    statistics, found = Statistics(learner), []
    try:
        for forward in (learner, torch.compile(learner, dynamic=False)):
            seconds = []
            for _ in range(1 + _ROUNDS):
                began = time.monotonic()
                loss = float(backward(learner, views[0], views[1], precision, forward=forward))
                seconds.append(time.monotonic() - began)
                statistics.restore()
            found.append((loss, min(seconds[1:]), forward))  # the first pass compiles
    except Exception as error:  # whatever a compiler or a driver raises: there is a way without it
        log.info("not compiled: %s", str(error).splitlines()[0] if str(error) else type(error).__name__)
        return learner
    finally:
        statistics.restore()
        learner.zero_grad(set_to_none=True)
    (loss, seconds, _), (compiled_loss, compiled_seconds, compiled) = found
    if abs(compiled_loss - loss) > _DIFFERS * abs(loss) + _DIFFERS / 10:
        log.warning("not compiled: the loss would be %.4g instead of %.4g", compiled_loss, loss)
        return learner
    log.info(
        "compiled, a step takes %.2f of the time: %s",
        compiled_seconds / seconds,
        "used" if compiled_seconds < seconds else "not used",
    )
    return compiled if compiled_seconds < seconds else learner
