"""The trainer `byol_pytorch`: the package byol-pytorch, which the paper used, computes every step.

Belongs here: the package's learner with what its constructor does put right, and the trainer. Does not belong here: the
trainer `byol` (`byol`), which computes the same faster and on several devices, and the loop over epochs (`training`).

Four things are put right. The constructor sends noise through the networks in training mode: their running statistics
are restored afterwards. Version 0.9 puts simplicial embeddings before the projector, which the paper does not have:
they are off. Its augmentation draws once for a whole batch and normalises as ImageNet: it is given this project's
views, and the encoder normalises. Its heads get the weights that the trainer `byol` draws from the same seed, so that
the two trainers can be compared.
"""

import copy
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from byol_pytorch import BYOL
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from galaxy_assets.science.batches import Batches
from galaxy_assets.science.byol import heads
from galaxy_assets.science.devices import describe, is_out_of_memory
from galaxy_assets.science.encoders.network import Encoder, Images, seeded
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

VERSION = version("byol-pytorch")


class PackageByol(BYOL):
    """byol-pytorch's learner, as the paper's recipe needs it. It is given both views of a batch, one after the other.

    Parameters
    ----------
    encoder : Encoder
        Becomes the online network, not copied; its weights and statistics are as before afterwards.
    recipe : Recipe
        Sizes and seed of the heads, `tau`, `image_size`.
    freeze : bool
        Keep the running statistics of both encoders' batch normalisation as they are; the heads' always train.
    """

    def __init__(self, encoder: Encoder, recipe: "Recipe", *, freeze: bool):
        before = copy.deepcopy(encoder.state_dict())
        with seeded(recipe.seed):
            super().__init__(
                encoder,
                recipe.image_size,
                hidden_layer=-1,
                projection_size=recipe.projection_size,
                projection_hidden_size=recipe.projection_hidden_size,
                augment_fn=_first_half,
                augment_fn2=_second_half,
                moving_average_decay=recipe.tau,
                sync_batchnorm=False,
                use_simplicial_embeddings=False,
            )
        self.freeze = freeze
        projector, predictor = heads(encoder.feature_size, recipe)
        for part in (self.online_encoder, self._get_target_encoder()):
            part.net.load_state_dict(before)
            part.projector.load_state_dict(projector.state_dict())
        self.online_predictor.load_state_dict(predictor.state_dict())
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for the encoders' batch normalisation where that is frozen.

        Parameters
        ----------
        mode : bool
            As in `torch.nn.Module.train`.

        Returns
        -------
        PackageByol
            Itself.
        """
        super().train(mode)
        if self.freeze:
            for module in [*self.online_encoder.net.modules(), *self._get_target_encoder().net.modules()]:
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def _first_half(views: Tensor) -> Tensor:
    return views.chunk(2)[0]


def _second_half(views: Tensor) -> Tensor:
    return views.chunk(2)[1]


def step(learner: PackageByol, optimiser: torch.optim.Optimizer, view1: Tensor, view2: Tensor) -> Tensor:
    """One training step, as in the package's README.

    Parameters
    ----------
    learner : PackageByol
    optimiser : torch.optim.Optimizer
    view1, view2 : Tensor of shape (B, C, H, W), float
        In [0, 1].

    Returns
    -------
    Tensor, scalar
        The loss, detached.
    """
    loss = learner(torch.cat([view1, view2]))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    learner.update_moving_average()
    return loss.detach()


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
) -> Encoder:
    """Train `encoder` in place with byol-pytorch and return it: the trainer `byol_pytorch`.

    Parameters
    ----------
    encoder, pixels, indices, recipe, freeze, state, on_epoch
        As of `byol.train`, which says when it resumes and what it reports.
    devices : sequence of torch.device
        The first one computes.

    Returns
    -------
    Encoder
        `encoder`, trained.

    Raises
    ------
    ValueError
        Where the package cannot do what the recipe asks, a batch is larger than the set, or `state` is damaged or of
        another training or version of the package.
    FloatingPointError
        Where the loss is not finite.
    MemoryError
        Where a step does not fit into the device's memory, with the remedy.
    """
    _check(recipe)
    check_batch(indices, recipe)
    rows, device = np.asarray(indices, np.int64), devices[0]
    # on the CPU, so that the noise of the constructor is drawn from a random state that is put back
    encoder.cpu().to(memory_format=torch.channels_last)
    learner = PackageByol(encoder, recipe, freeze=freeze).to(device)
    optimiser = adam(learner, recipe)
    this = identity(encoder, rows, recipe, freeze) | {"byol-pytorch": VERSION}
    training = ResumableTraining(learner, encoder, optimiser, recipe, state, this, device)
    batches = Batches(pixels, rows, device, keep=False)
    try:
        training.run(training.resume(), batches, lambda *views: step(learner, optimiser, *views), on_epoch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(
            f"the memory of {describe(device).name} is full, and byol-pytorch takes a batch of {recipe.batch_size} in "
            "one piece; lower batch_size or image_size, or set trainer: byol, which takes it in parts"
        ) from error
    return encoder


def _check(recipe: "Recipe") -> None:
    """Raise ValueError where the package cannot do what the recipe asks."""
    if recipe.batch_norm != "concat":
        raise ValueError(
            f"byol-pytorch {VERSION} normalises both views of a batch together, and the recipe asks for batch_norm: "
            f"{recipe.batch_norm}; set batch_norm: concat, or trainer: byol, which does both"
        )
    if recipe.precision != "float32":
        raise ValueError(
            f"byol-pytorch {VERSION} takes its loss in the networks' precision, and the recipe asks for precision: "
            f"{recipe.precision}; set precision: float32, or trainer: byol, whose loss stays in float32"
        )
