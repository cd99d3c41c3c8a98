"""What start weights, encoder networks and trainers promise, as a Protocol each; `training_contracts` tests them.

Belongs here: one class for each kind, with every method's arguments, answers and errors. Does not belong here: a
plug-in, or anything that runs. The rooms are imported for their types alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import torch

    from galaxy_assets.science.encoders.network import Encoder, Images
    from galaxy_assets.science.encoders.weights import WeightFiles
    from galaxy_assets.science.training import EpochResult, TrainingState
    from galaxy_assets.settings.recipe import Recipe


class StartWeights(Protocol):
    """Kind `start_weights`: makes the encoder that a training starts from.

    A survey lists the name it is registered under in `start_weights`.
    """

    def __call__(self, backbone: str, *, seed: int, files: WeightFiles) -> Encoder:
        """An encoder with its start weights.

        Parameters
        ----------
        backbone : str
            The recipe's; what it names is for the start weights to say.
        seed : int
            Of whatever is drawn. The global random state must stay as it was: `science.encoders.network.seeded`.
        files : WeightFiles
            Where weights that are files lie.

        Returns
        -------
        Encoder
            On the CPU. Its `variant` is the architecture's name among the plug-ins of kind `encoders`, by which it is
            loaded again from its checkpoints.

        Raises
        ------
        MissingWeights
            Where a file is absent, with where it was sought and where to put it. No start falls back to another.
        ValueError
            Where the backbone is not one it has weights for, or a file is not what it should be.
        """
        ...


class EncoderNetwork(Protocol):
    """Kind `encoders`: makes the network of an encoder, which its checkpoints name as `variant`."""

    def __call__(self, backbone: str) -> torch.nn.Module:
        """A network with the layers that checkpoints of this architecture have, randomly initialised.

        Parameters
        ----------
        backbone : str
            The recipe's.

        Returns
        -------
        torch.nn.Module
            On the CPU. Maps normalised float32 images (B, C, H, W) to features (B, F).

        Raises
        ------
        ValueError
            Where there is no such backbone.
        """
        ...


class Trainer(Protocol):
    """Kind `trainers`: trains an encoder without labels. A recipe names it as `trainer`."""

    def __call__(
        self,
        encoder: Encoder,
        pixels: Images,
        indices: np.ndarray,
        recipe: Recipe,
        *,
        freeze: bool,
        devices: Sequence[torch.device],
        state: TrainingState,
        on_epoch: Callable[[EpochResult, Encoder], None],
    ) -> Encoder:
        """Train `encoder` in place for the recipe's epochs and return it.

        `science.training.ResumableTraining` does what this asks for around the steps of a learner. A trainer with a
        further parameter `hosts` is also called in the processes that torchrun starts on other hosts, with the same
        arguments and `hosts=True`: it must join them (`science.distributed.joined`), write `state` and call `on_epoch`
        in the first one alone. Without that parameter it trains on the first host.

        Parameters
        ----------
        encoder : Encoder
            With the start weights.
        pixels : Images
            uint8 (N, H, H, C).
        indices : np.ndarray
            Rows of `pixels` to train on.
        recipe : Recipe
            Everything that decides what the trained network is; equal recipes give equal weights.
        freeze : bool
            Keep the running statistics of the encoder's batch normalisation as they are.
        devices : sequence of torch.device
            What may be used; at least one.
        state : TrainingState
            Written after every epoch. Where it holds a state of this training, training goes on after its epoch.
        on_epoch : callable
            Called with what each epoch from 1 on measured and the encoder as it then is, before that epoch enters
            `state`, so that a killed training skips none.

        Returns
        -------
        Encoder
            `encoder`, trained.

        Raises
        ------
        ValueError
            Where the recipe asks for what this trainer cannot do, a batch is larger than the set, or `state` is that
            of another training.
        FloatingPointError
            Where the loss is not finite.
        """
        ...
