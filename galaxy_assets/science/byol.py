"""BYOL as the paper runs it (Grill et al. 2020; paper 4.1, Table 1, Eq. 1), step for step that of byol-pytorch.

Belongs here: the two networks, the loss, one training step, the resumable loop over epochs. Does not belong here: the
views (`augmentation`), the networks and their weights (`encoders`), which epochs to keep (the caller).

byol-pytorch itself is not used: its constructor sends noise through the network and so alters the batch normalisation
of pretrained weights, and version 0.9 changed the algorithm by default (simplicial embeddings). The tests hold this
step against it.
"""

import copy
import hashlib
import json
import logging
import math
import pickle
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import get_ema_multi_avg_fn

from galaxy_assets.science.augmentation import augment
from galaxy_assets.science.distributed import Share, processes, synchronise
from galaxy_assets.science.encoders.network import Encoder, Images, seeded
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.storage.files import replacing

log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 20.0


class Byol(nn.Module):
    """Online and target network. The constructor sends nothing through them.

    Parameters
    ----------
    encoder : becomes the online encoder, not copied.
    recipe : sizes of the heads, `tau`, `batch_norm` and the seed of the heads.
    freeze : keep the running statistics of both encoders' batch normalisation as they are; the heads' always train.
    """

    def __init__(self, encoder: Encoder, recipe: Recipe, *, freeze: bool):
        super().__init__()
        self.encoder = encoder
        with seeded(recipe.seed):
            self.projector = _head(encoder.feature_size, recipe)
            self.predictor = _head(recipe.projection_size, recipe)
        self.target_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.target_projector = copy.deepcopy(self.projector).requires_grad_(False)
        self.concat = recipe.batch_norm == "concat"
        self.freeze = freeze
        self._average = get_ema_multi_avg_fn(recipe.tau)
        self.train()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.freeze:
            for module in [*self.encoder.modules(), *self.target_encoder.modules()]:
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, view1: Tensor, view2: Tensor) -> Tensor:
        """Mean over the batch of [2 - 2 cos(p1, z2)] + [2 - 2 cos(p2, z1)], between 0 and 8 (Grill et al. 2020, Eq. 2).

        Views are float (B, C, H, W) in [0, 1]. They pass through the networks one after the other, each normalised by
        its own batch statistics, or concatenated (byol-pytorch before and from 0.8). At least float32, also where the
        networks run in bfloat16.
        """
        passes = [torch.cat([view1, view2])] if self.concat else [view1, view2]
        predictions = torch.cat([self.predictor(self.projector(self.encoder(images))) for images in passes])
        with torch.no_grad():
            targets = torch.cat([self.target_projector(self.target_encoder(images)) for images in passes])
        predictions, targets = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (predictions, targets))
        (p1, p2), (z1, z2) = predictions.chunk(2), targets.chunk(2)
        return (4 - 2 * F.cosine_similarity(p1, z2) - 2 * F.cosine_similarity(p2, z1)).mean()

    @torch.no_grad()
    def update_target(self) -> None:
        """target <- tau target + (1 - tau) online (paper Eq. 1), for parameters.

        Running statistics are not averaged: the target gathers its own, as in byol-pytorch.
        """
        online: list[Tensor] = [*self.encoder.parameters(), *self.projector.parameters()]
        target: list[Tensor] = [*self.target_encoder.parameters(), *self.target_projector.parameters()]
        self._average(target, online, None)


def _head(inputs: int, recipe: Recipe) -> nn.Sequential:
    hidden = recipe.projection_hidden_size
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, recipe.projection_size),
    )


def adam(learner: Byol, recipe: Recipe) -> torch.optim.Adam:
    """The paper's optimiser (Table 1), over the online network."""
    online = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    return torch.optim.Adam(online, lr=recipe.learning_rate, fused=True)


def step(
    learner: Byol | DistributedDataParallel,
    optimiser: torch.optim.Optimizer,
    view1: Tensor,
    view2: Tensor,
    *,
    bfloat16: bool,
) -> Tensor:
    """One training step; returns its loss (of this process's views), detached."""
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast(view1.device.type, torch.bfloat16, enabled=bfloat16):
        loss = learner(view1, view2)
    loss.backward()
    optimiser.step()
    (learner if isinstance(learner, Byol) else learner.module).update_target()
    return loss.detach()


@dataclass(frozen=True)
class EpochResult:
    """What one epoch measured: mean loss per image (0 to 8), learning rate, wall seconds, images per second, and the
    peak memory so far in GB (1e9 bytes) of the GPU, or of this process where there is none."""

    epoch: int
    loss: float
    learning_rate: float
    seconds: float
    images_per_second: float
    memory_gb: float

    asdict = asdict


def train(
    encoder: Encoder,
    pixels: Images,
    indices: np.ndarray,
    recipe: Recipe,
    *,
    freeze: bool,
    devices: Sequence[torch.device],
    state: Path,
    on_epoch: Callable[[EpochResult, Encoder], None],
) -> Encoder:
    """Train `encoder` in place for the recipe's epochs and return it.

    Order and views of an epoch follow from (recipe.seed, epoch) alone. Killed and called again with the same arguments,
    training resumes after the last epoch in `state`; on the CPU the result is bit for bit that of an uninterrupted run.

    Parameters
    ----------
    pixels : uint8 (N, H, H, C).
    indices : rows of `pixels` to train on. Each epoch leaves out those that do not fill a last batch.
    freeze : keep the running statistics of the encoder's batch normalisation (see `Byol`).
    devices : one process each; every batch is shared among them, so that their number changes the result by rounding
        alone. As many of them are used as divide the batch size.
    state : file of the learner and its optimiser, replaced after every epoch.
    on_epoch : called with epochs 1, 2, ... and the encoder, *before* that epoch enters `state`: a kill between the two
        repeats the epoch and the call, and never skips one. It must therefore bear to be called twice for an epoch.
        It may embed with the encoder and must not change its weights.

    Raises ValueError if a batch is larger than the set or `state` is damaged or of another training, and
    FloatingPointError if the loss is not finite.
    """
    if len(indices) < recipe.batch_size:
        raise ValueError(
            f"batch_size {recipe.batch_size} is larger than the training set of {len(indices)} images; lower it"
        )
    used = devices[: max(n for n in range(1, len(devices) + 1) if recipe.batch_size % n == 0)]
    arguments = encoder.cpu(), pixels, np.asarray(indices, np.int64), recipe, freeze, state
    with processes(used, _train, arguments) as share:
        return _train(share, used[0], *arguments, on_epoch)


def _train(
    share: Share,
    device: torch.device,
    encoder: Encoder,
    pixels: Images,
    indices: np.ndarray,
    recipe: Recipe,
    freeze: bool,
    state: Path,
    on_epoch: Callable[[EpochResult, Encoder], None] | None = None,
) -> Encoder:
    """`train` in one of its processes; the first one writes and reports."""
    steps = len(indices) // recipe.batch_size
    # before the copy that becomes the target, so that both have one memory layout
    encoder.to(device).to(memory_format=torch.channels_last)
    learner = Byol(encoder, recipe, freeze=freeze).to(device)
    optimiser = adam(learner, recipe)
    identity = {
        "recipe": recipe.deciding(),
        "freeze": freeze,
        "backbone": encoder.backbone,
        "start": encoder.start,
        "indices": hashlib.sha256(indices.tobytes()).hexdigest(),
    }
    done = _resume(state, identity, learner, optimiser)
    model = learner
    if share.processes > 1:
        synchronise(learner)
        model = DistributedDataParallel(learner, forward_sync_buffers=False)
    if done:
        log.info("resuming after epoch %d from %s", done, state)
    for epoch in range(done + 1, recipe.epochs + 1):
        generator = torch.Generator()
        generator.manual_seed(int(np.random.SeedSequence((recipe.seed, epoch)).generate_state(1)[0]))
        order = indices[torch.randperm(len(indices), generator=generator).numpy()]
        learner.train()
        total = torch.zeros((), device=device)
        began = reported = time.monotonic()
        for i in range(steps):
            batch = torch.from_numpy(pixels[order[i * recipe.batch_size : (i + 1) * recipe.batch_size]])
            batch = batch.to(device).permute(0, 3, 1, 2)
            # every process draws the views of the whole batch: the draws do not depend on how it is shared
            views = [share.of(augment(batch, recipe, generator, recipe.image_size)) for _ in range(2)]
            views = [view.contiguous(memory_format=torch.channels_last) for view in views]
            total += step(model, optimiser, *views, bfloat16=recipe.precision == "bfloat16")
            now = time.monotonic()
            if now - reported > _PROGRESS_SECONDS and i < steps - 1:
                reported = now
                _check_finite(float(total), epoch)
                speed = (i + 1) * recipe.batch_size / (now - began)
                left = ((recipe.epochs - epoch + 1) * steps - i - 1) * recipe.batch_size / speed
                log.info("epoch %d, step %d of %d: %.0f images/s, %.0f s left in all", epoch, i + 1, steps, speed, left)
        loss = float(share.mean(total)) / steps
        _check_finite(loss, epoch)
        seconds = time.monotonic() - began
        speed, left = steps * recipe.batch_size / seconds, (recipe.epochs - epoch) * seconds
        if on_epoch is None:
            continue
        log.info("epoch %d of %d: loss %.4f, %.0f images/s, %.0f s left", epoch, recipe.epochs, loss, speed, left)
        on_epoch(EpochResult(epoch, loss, recipe.learning_rate, seconds, speed, _memory(device)), learner.encoder)
        with replacing(state) as partial:
            torch.save(
                {
                    "identity": json.dumps(identity),
                    "epoch": epoch,
                    "learner": learner.state_dict(),
                    "optimiser": optimiser.state_dict(),
                },
                partial,
            )
    return learner.encoder


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _check_finite(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(f"loss of epoch {epoch} is {loss}; lower learning_rate or check the pixels for NaN")


def _resume(path: Path, identity: dict[str, Any], learner: Byol, optimiser: torch.optim.Optimizer) -> int:
    """Load the state, if there is one, and return its epoch, else 0."""
    if not path.exists():
        return 0
    remedy = f"delete {path} to train from the start"
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        found = json.loads(saved["identity"])
    except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a whole training state ({error}); {remedy}") from error
    differs = [name for name in identity if found.get(name) != identity[name]]
    if differs:
        raise ValueError(f"{path} is the state of another training (it differs in {', '.join(differs)}); {remedy}")
    learner.load_state_dict(saved["learner"])
    optimiser.load_state_dict(saved["optimiser"])
    return saved["epoch"]
