"""BYOL as the paper runs it (Grill et al. 2020; paper 4.1, Table 1, Eq. 1), step for step that of byol-pytorch.

Belongs here: the two networks, the loss, one training step, the trainer `byol`. Does not belong here: the loop over
epochs (`training`), the views (`augmentation`), the networks and their weights (`encoders`), which epochs to keep (the
caller), and the trainer that runs the package byol-pytorch itself (`byol_pytorch`), which the tests hold this one
against.
"""

import copy
import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from galaxy_assets.science.batches import Batches
from galaxy_assets.science.byol_gradients import (
    Economy,
    ThriftyBackward,
    backward,
    compiled_where_faster,
    economies,
)
from galaxy_assets.science.devices import autocast, fastest_convolutions, is_out_of_memory
from galaxy_assets.science.distributed import ALONE, Share, joined, local_device, processes, synchronise
from galaxy_assets.science.encoders.network import Encoder, Images, seeded, state_sha256
from galaxy_assets.science.torchrun import place
from galaxy_assets.science.training import (
    OnEpoch,
    ResumableTraining,
    TrainingState,
    adam,
    check_batch,
    identity,
)

if TYPE_CHECKING:
    from galaxy_assets.settings.recipe import Recipe


log = logging.getLogger(__name__)

Gradients = Callable[["Byol", Tensor, Tensor, torch.autocast], Tensor]

_COMPILED_FROM = 2000  # steps that a training must have left for compiling to pay


class Byol(nn.Module):
    """Online and target network (Grill et al. 2020). The constructor sends nothing through them.

    Parameters
    ----------
    encoder : Encoder
        Becomes the online encoder, not copied.
    recipe : Recipe
        Sizes of the heads, `tau`, `batch_norm` and the seed of the heads.
    freeze : bool
        Keep the running statistics of both encoders' batch normalisation as they are; the heads' always train.
    """

    def __init__(self, encoder: Encoder, recipe: "Recipe", *, freeze: bool):
        super().__init__()
        self.encoder = encoder
        self.projector, self.predictor = heads(encoder.feature_size, recipe)
        self.target_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.target_projector = copy.deepcopy(self.projector).requires_grad_(False)
        self.concat = recipe.batch_norm == "concat"
        self.freeze = freeze
        self._average = get_ema_multi_avg_fn(recipe.tau)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for the encoders' batch normalisation where that is frozen.

        Parameters
        ----------
        mode : bool
            As in `torch.nn.Module.train`.

        Returns
        -------
        Byol
            Itself.
        """
        super().train(mode)
        if self.freeze:
            for module in [*self.encoder.modules(), *self.target_encoder.modules()]:
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, view1: Tensor, view2: Tensor) -> Tensor:
        """Loss of two views: the mean of [2 - 2 cos(p1, z2)] + [2 - 2 cos(p2, z1)] (Grill et al. 2020, Eq. 2).

        The views pass through the networks one after the other, each normalised by its own batch statistics
        (byol-pytorch before 0.8), or concatenated (from 0.8 on).

        Parameters
        ----------
        view1, view2 : Tensor of shape (B, C, H, W), float
            In [0, 1].

        Returns
        -------
        Tensor, scalar
            Between 0 and 8; at least float32, also where the networks run in bfloat16.
        """
        passes = [torch.cat([view1, view2])] if self.concat else [view1, view2]
        features = torch.cat([self.encoder(images) for images in passes])
        with torch.no_grad():
            targets = torch.cat([self.target_encoder(images) for images in passes])
        return self.loss(features, targets)

    def loss(self, features: Tensor, targets: Tensor) -> Tensor:
        """Loss from the features of both views.

        Parameters
        ----------
        features, targets : Tensor of shape (2 B, F)
            Of the online and of the target encoder: those of the first view, then those of the second.

        Returns
        -------
        Tensor, scalar
        """
        together = (lambda x: [x]) if self.concat else (lambda x: x.chunk(2))
        predictions = torch.cat([self.predictor(self.projector(part)) for part in together(features)])
        with torch.no_grad():
            projections = torch.cat([self.target_projector(part) for part in together(targets)])
        (p1, p2), (z1, z2) = (_at_least_float32(x).chunk(2) for x in (predictions, projections))
        return (4 - 2 * F.cosine_similarity(p1, z2) - 2 * F.cosine_similarity(p2, z1)).mean()

    def online(self, view: Tensor) -> Tensor:
        """Predictions (B, P) of the online network for a view (B, C, H, W)."""
        return self.predictor(self.projector(self.encoder(view)))

    def target(self, view: Tensor) -> Tensor:
        """Projections (B, P) of the target network for a view (B, C, H, W)."""
        return self.target_projector(self.target_encoder(view))

    @staticmethod
    def half_loss(predictions: Tensor, projections: Tensor) -> Tensor:
        """The half of the loss of one view's predictions (B, P) and the other view's projections (B, P)."""
        return (2 - 2 * F.cosine_similarity(_at_least_float32(predictions), _at_least_float32(projections))).mean()

    @torch.no_grad()
    def update_target(self) -> None:
        """Target <- tau target + (1 - tau) online (paper Eq. 1), for parameters.

        Running statistics are not averaged: the target gathers its own, as in byol-pytorch.
        """
        online: list[Tensor] = [*self.encoder.parameters(), *self.projector.parameters()]
        target: list[Tensor] = [*self.target_encoder.parameters(), *self.target_projector.parameters()]
        self._average(target, online, None)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def heads(feature_size: int, recipe: "Recipe") -> tuple[nn.Sequential, nn.Sequential]:
    """The projector and the predictor, with the weights that the recipe's seed gives them.

    Parameters
    ----------
    feature_size : int
        Of the encoder.
    recipe : Recipe
        Sizes and seed.

    Returns
    -------
    projector, predictor : nn.Sequential
        Map (B, feature_size) and (B, projection_size) to (B, projection_size).
    """
    with seeded(recipe.seed):
        return _head(feature_size, recipe), _head(recipe.projection_size, recipe)


def _head(inputs: int, recipe: "Recipe") -> nn.Sequential:
    hidden = recipe.projection_hidden_size
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, recipe.projection_size),
    )


def step(
    learner: Byol,
    optimiser: torch.optim.Optimizer,
    view1: Tensor,
    view2: Tensor,
    *,
    bfloat16: bool,
    share: Share = ALONE,
    gradients: Gradients = backward,
) -> Tensor:
    """One training step.

    Parameters
    ----------
    learner : Byol
    optimiser : torch.optim.Optimizer
    view1, view2 : Tensor of shape (B, C, H, W), float
        In [0, 1].
    bfloat16 : bool
        Run the networks in bfloat16.
    share : Share
        Which part of the batch the views are of.
    gradients : callable
        What adds the gradients of the loss to those of the parameters and returns the loss.

    Returns
    -------
    Tensor, scalar
        The loss of this process's views, detached.
    """
    optimiser.zero_grad(set_to_none=True)
    loss = gradients(learner, view1, view2, autocast(view1.device, "bfloat16" if bfloat16 else "float32"))
    share.mean_gradients(learner)
    optimiser.step()
    learner.update_target()
    return loss


def train(
    encoder: Encoder,
    pixels: Images,
    indices: np.ndarray,
    recipe: "Recipe",
    *,
    freeze: bool,
    devices: Sequence[torch.device],
    state: TrainingState,
    on_epoch: OnEpoch,
    hosts: bool = False,
) -> Encoder:
    """Train `encoder` in place for the recipe's epochs and return it: the trainer `byol`.

    Order and views of an epoch follow from (recipe.seed, epoch) alone. Killed and called again with the same arguments,
    training resumes after the last epoch in `state`; on the CPU, with a fixed number of threads, the result is bit for
    bit that of an uninterrupted run.

    Parameters
    ----------
    encoder : Encoder
        With the start weights.
    pixels : Images
        uint8 (N, H, H, C).
    indices : ndarray of int
        Rows of `pixels` to train on. Each epoch leaves out those that do not fill a last batch.
    recipe : Recipe
        Everything that decides what the trained network is.
    freeze : bool
        Keep the running statistics of the encoder's batch normalisation (see `Byol`).
    devices : sequence of torch.device
        One process each; every batch is shared among them, so that their number changes the result by rounding alone.
        As many of them are used as divide the batch size. Where the memory of one is full, steps are taken in parts,
        with the same result but for rounding (`byol_gradients.economies`); the log tells.
    state : TrainingState
        Learner and optimiser, replaced after every epoch.
    on_epoch : callable
        Called with epochs 1, 2, ... and the encoder, *before* that epoch enters `state`: a kill between the two repeats
        the epoch and the call, and never skips one. It must allow two calls for one epoch. It may
        embed with the encoder and must not change its weights.
    hosts : bool
        Share every batch among the processes that torchrun started (`distributed.joined`), each on one device of its
        host. Every process calls this with the same arguments; `state` is read by all of them, and written by the first
        one alone, which alone calls `on_epoch`. Without torchrun it changes nothing.

    Returns
    -------
    Encoder
        `encoder`, trained.

    Raises
    ------
    ValueError
        Where a batch is larger than the set, or does not part among the hosts' processes, or `state` is damaged or of
        another training.
    PartnerLost
        Where another host's process fails or is gone, with what is known of it.
    FloatingPointError
        Where the loss is not finite.
    MemoryError
        Where a step fits into the memory in no way, with the remedy.

    Examples
    --------
    A network of one convolution and random weights, trained for an epoch of two batches:

    >>> import numpy as np
    >>> import torch
    >>> from galaxy_assets.science.byol import train
    >>> from galaxy_assets.science.encoders.network import Encoder
    >>> from galaxy_assets.settings.recipe import Recipe
    >>> class Nowhere:
    ...     def read(self):
    ...         return None
    ...     def write(self, saved):
    ...         pass
    >>> layers = torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    >>> network = torch.nn.Sequential(*layers)
    >>> encoder = Encoder(network, backbone="tiny", start="random", feature_size=4, mean=(0.5,) * 3, std=(0.2,) * 3)
    >>> pixels = np.random.default_rng(0).integers(0, 256, (8, 24, 24, 3), dtype=np.uint8)
    >>> sizes = {"image_size": 16, "projection_size": 4, "projection_hidden_size": 8}
    >>> recipe, epochs, before = Recipe(epochs=1, batch_size=4, **sizes), [], network[0].weight.clone()
    >>> trained = train(
    ...     encoder, pixels, np.arange(8), recipe, freeze=False, devices=[torch.device("cpu")], state=Nowhere(),
    ...     on_epoch=lambda result, encoder: epochs.append(result.epoch),
    ... )
    >>> epochs, bool((network[0].weight != before).any())
    ([1], True)
    """
    check_batch(indices, recipe)
    here = place() if hosts else None
    if here is not None and recipe.batch_size % here.processes:
        raise ValueError(
            f"batch_size {recipe.batch_size} is not a multiple of {here.processes}, the processes on all hosts; start "
            "another number of them"
        )
    used = devices[: max(n for n in range(1, len(devices) + 1) if recipe.batch_size % n == 0)]
    sharing = len(used) if here is None else here.processes
    rows, ways = np.asarray(indices, np.int64), economies(recipe, freeze, 2 * recipe.batch_size // sharing)
    start = copy.deepcopy(encoder.cpu().state_dict())
    while True:
        arguments = encoder, pixels, rows, recipe, freeze, state, ways
        try:
            if here is None:
                with processes(used, _train, arguments) as share:
                    return _train(share, used[0], *arguments, on_epoch)
            with joined(devices) as share:
                return _train(share, local_device(devices), *arguments, None if share.rank else on_epoch)
        except (RuntimeError, ProcessRaisedException) as error:
            # one of several processes cannot take its part of a step again: all go back to the last whole epoch
            if sharing == 1 or len(ways) == 1 or not is_out_of_memory(error):
                raise
        ways = ways[1:]
        encoder.cpu().load_state_dict(start)
        log.warning(
            "the memory of a device is full: from the last whole epoch on, %s",
            ways[0].words(2 * recipe.batch_size // sharing),
        )


def _train(
    share: Share,
    device: torch.device,
    encoder: Encoder,
    pixels: Images,
    indices: np.ndarray,
    recipe: "Recipe",
    freeze: bool,
    state: TrainingState,
    ways: list[Economy],
    on_epoch: OnEpoch | None = None,
) -> Encoder:
    """`train` in one of its processes; the first one writes and reports."""
    # before the copy that becomes the target, so that both have one memory layout
    encoder.to(device).to(memory_format=torch.channels_last)
    learner = Byol(encoder, recipe, freeze=freeze).to(device)
    optimiser, this = adam(learner, recipe), identity(encoder, indices, recipe, freeze)
    training = ResumableTraining(learner, encoder, optimiser, recipe, state, this, device, share)
    done, bfloat16 = training.resume(), recipe.precision == "bfloat16"
    share.check_same(f"{done} {json.dumps(this)} {state_sha256(encoder)}", device)
    batches = Batches(pixels, indices, device, keep=True)
    thrifty = ThriftyBackward(ways, batches)
    gradients: Gradients = thrifty if share.processes == 1 else partial(backward, economy=ways[0])
    if share.processes > 1:
        synchronise(learner)
    elif device.type == "cuda" and (recipe.epochs - done) * len(indices) >= _COMPILED_FROM * recipe.batch_size:
        with fastest_convolutions(device):
            thrifty.forward = compiled_where_faster(
                learner, training.first_views(batches), autocast(device, recipe.precision)
            )

    def one_step(view1: Tensor, view2: Tensor) -> Tensor:
        return step(learner, optimiser, view1, view2, bfloat16=bfloat16, share=share, gradients=gradients)

    training.run(done, batches, one_step, on_epoch)
    return encoder
