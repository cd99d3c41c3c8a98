"""Speed of a BYOL step, of the views and of embedding, beside what a user would pick instead.

    OMP_NUM_THREADS=1 python benchmarks/training.py [--small]

Peers: byol-pytorch's learner (without simplicial embeddings, which the paper does not have), torchvision's transforms
on one image at a time, kornia's on a batch, and inference in batches without gradients. Both sides have the same pixels
and the same memory allocator, which keeps freed memory (`keep_freed_memory`); each turn comes after a call that is not
timed. Rows "as its users run it" are what the peer's users have: glibc's own allocator, cutouts of 300 px instead of
stored ones, and inference of one image at a time with gradients on, as Astronomaly's `CNN_Features` does it.

The paper's preset normalises each view by itself, `per view`; byol-pytorch from 0.8 on only concatenates them, so that
row compares two readings. Weights are random: speed does not depend on them.
"""

import copy
import ctypes
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

import kornia.augmentation as K
import numpy as np
import torch
from byol_pytorch import BYOL
from PIL import Image
from report import _PASSES
from side_by_side import Compared, Equal, Row, compare, main
from torch import nn
from torchvision import transforms as T

from galaxy_assets.orchestration.planning.networks import counted
from galaxy_assets.science.augmentation import augment
from galaxy_assets.science.byol import Byol, step
from galaxy_assets.science.devices import keep_freed_memory
from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.network import Encoder
from galaxy_assets.science.encoders.weights import build_encoder
from galaxy_assets.science.training import adam
from galaxy_assets.settings.recipe import Recipe

CPU = torch.device("cpu")
Precision = Literal["bfloat16", "float32"]
BATCH = 32
ROUNDING = {("resnet18", "bfloat16"): 1e-4, ("tf_efficientnet_lite0", "bfloat16"): 3e-4}  # 1e-6 in float32
BACKBONES = {"resnet18": "", "tf_efficientnet_lite0": " of EfficientNet-Lite0"}
"""The paper's network and one of depthwise convolutions, and how rows name it."""


def glibc_defaults() -> None:
    """Where glibc's own thresholds settle in a process that frees large blocks."""
    libc = ctypes.CDLL(None)
    for parameter, value in {-3: 2**25, -1: 2**26, -2: 2**17}.items():  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD
        libc.mallopt(parameter, value)


def with_memory_of(setting: Callable[[], None], function: Callable[[], object]) -> Callable[[], object]:
    """`function` with the memory allocator set before every call."""

    def call() -> object:
        setting()
        return function()

    return call


def compared(
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    rounds: int,
    repeats: int = 1,
    peer_memory: Callable[[], None] = keep_freed_memory,
) -> Compared:
    """Both sides, each after a call that is not timed, with the memory allocator that is named for the peer; one round
    is a trial without either."""
    return compare(
        with_memory_of(keep_freed_memory, ours),
        with_memory_of(peer_memory, peer),
        rounds=rounds,
        repeats=repeats,
        warm=rounds > 1,
        memory=rounds > 1,
    )


def convolution_peak(dtype: torch.dtype, tries: int) -> float:
    """GFLOP/s of the best of some 3x3 convolutions with 256 channels."""
    conv = nn.Conv2d(256, 256, 3, padding=1, bias=False).to(dtype).to(memory_format=torch.channels_last)
    x = torch.rand(16, 256, 28, 28, dtype=dtype).contiguous(memory_format=torch.channels_last)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(tries):
            began = time.perf_counter()
            conv(x)
            best = min(best, time.perf_counter() - began)
    return 2 * 256 * 256 * 9 * 28 * 28 * 16 / best / 1e9


def network(backbone: str) -> Encoder:
    """A network with random weights."""
    return build_encoder(backbone, "random", seed=0, weights=Path())


def gflop(backbone: str, size: int) -> float:
    """Multiplications and additions of one forward pass, in 10^9."""
    return counted(backbone, size).operations / 1e9


AS_RUN = ", as its users run it"
STEPS: list[tuple[bool, Literal["concat", "per_view"], Callable[[], None]]] = [
    (True, "concat", keep_freed_memory),
    (False, "concat", keep_freed_memory),
    (False, "concat", glibc_defaults),
    (False, "per_view", keep_freed_memory),
]
"""In bfloat16 or not, the reading of batch normalisation, and the peer's memory allocator."""


def byol_step(backbone: str, size: int, batch: int, peaks: dict[bool, float], rounds: int) -> Iterator[Row]:
    """One step on ready views, ours in both precisions against byol-pytorch in float32."""
    views = [torch.rand(batch, 3, size, size) for _ in range(2)]
    turns = [0]

    def view(_: torch.Tensor) -> torch.Tensor:
        turns[0] += 1
        return views[turns[0] % 2]

    theirs = BYOL(
        copy.deepcopy(network(backbone)),
        size,
        hidden_layer=-1,
        projection_size=100,
        projection_hidden_size=4096,
        augment_fn=view,
        augment_fn2=view,
        use_simplicial_embeddings=False,
    )
    optimiser = torch.optim.Adam(theirs.parameters(), lr=1e-4)

    def peer() -> None:
        loss = theirs(views[0])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        theirs.update_moving_average()

    laid_out = [v.contiguous(memory_format=torch.channels_last) for v in views]
    work = _PASSES * batch * gflop(backbone, size)
    for bfloat16, batch_norm, peer_memory in STEPS if backbone == "resnet18" else STEPS[:2]:
        recipe, encoder = Recipe(preset="paper", batch_norm=batch_norm), network(backbone)
        encoder.to(memory_format=torch.channels_last)
        learner = Byol(encoder, recipe, freeze=False)
        own = adam(learner, recipe)
        found = compared(
            lambda: step(learner, own, *laid_out, bfloat16=bfloat16),  # noqa: B023
            peer,
            rounds=rounds,
            peer_memory=peer_memory,
        )
        columns, alone = found.columns(), batch_norm == "per_view"
        name = f"BYOL step{BACKBONES[backbone]}{' per view' if alone else ''}"
        yield Row(
            "training",
            f"{name}, {size} px, batch {batch}, {'bfloat16' if bfloat16 else 'float32'}",
            batch,
            "byol-pytorch in float32" + (AS_RUN if peer_memory is glibc_defaults else ""),
            **columns,
            limit="3x3 convolutions",
            share=work / columns["seconds"] / peaks[bfloat16],
            note="as the paper's preset has it; byol-pytorch concatenates the views"
            if alone
            else "equal step by step in float64: galaxy_assets_tests/science/test_byol.py",
        )


def views(size: int, batch: int, rounds: int) -> Iterator[Row]:
    """One view of each of a batch of stored cutouts; torchvision's also of the cutouts of 300 px."""
    recipe = Recipe(preset="paper")
    stored = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (batch, 3, size, size), np.uint8))
    whole = np.random.default_rng(0).integers(0, 256, (batch, 300, 300, 3), np.uint8)
    same = [Image.fromarray(a) for a in stored.permute(0, 2, 3, 1).numpy()]
    generator = torch.Generator().manual_seed(0)

    def one_by_one(pictures: list[Image.Image]) -> Callable[[], None]:
        side = pictures[0].width
        single = T.Compose(
            [
                T.RandomApply([T.GaussianBlur(5, (0.1, 2.0))], 0.5),
                T.RandomHorizontalFlip(),
                T.RandomVerticalFlip(),
                T.RandomApply([T.RandomRotation(180, T.InterpolationMode.BILINEAR)], 0.7),
                T.RandomApply([T.RandomResizedCrop(side, (0.7, 1.0))], 0.7),
                *([T.Resize(size)] if side != size else []),
                T.ToTensor(),
            ]
        )

        def peer() -> None:
            for picture in pictures:
                single(picture)

        return peer

    together = nn.Sequential(
        K.RandomHorizontalFlip(),
        K.RandomVerticalFlip(),
        K.RandomRotation(180.0, p=0.7),
        K.RandomResizedCrop((size, size), (0.7, 1.0), p=0.7),
        K.RandomGaussianBlur((5, 5), (0.1, 2.0), p=0.5),
    )

    def ours() -> None:
        augment(stored, recipe, generator, size)

    peers = {
        "torchvision on the same pixels, one by one": (one_by_one(same), keep_freed_memory),
        f"torchvision on 300 px, one by one{AS_RUN}": (one_by_one([*map(Image.fromarray, whole)]), glibc_defaults),
        "kornia on the same pixels": (lambda: together(stored.float() / 255), keep_freed_memory),
    }
    for name, (peer, peer_memory) in peers.items():
        found = compared(ours, peer, rounds=rounds, repeats=3, peer_memory=peer_memory)
        note = "the same transforms and probabilities by another interpolation: nothing to compare"
        yield Row("training", f"one view of each of {batch}, {size} px", batch, name, **found.columns(), note=note)


def embedding(backbone: str, size: int, count: int, peaks: dict[bool, float], rounds: int) -> Iterator[Row]:
    """Features of images, ours in both precisions against batches, and against one at a time with gradients on."""
    encoder = network(backbone).eval().requires_grad_(True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    other = copy.deepcopy(encoder)

    def images(begin: int, end: int) -> torch.Tensor:
        return torch.from_numpy(pixels[begin:end]).permute(0, 3, 1, 2).float() / 255

    def batched() -> np.ndarray:
        with torch.inference_mode():
            return np.concatenate([other(images(i, i + BATCH)).numpy() for i in range(0, count, BATCH)])

    def one_at_a_time() -> np.ndarray:
        return np.stack([other(images(i, i + 1)).detach().numpy()[0] for i in range(count)])

    peers = {
        f"batches of {BATCH}, no gradients": (batched, keep_freed_memory),
    }
    if backbone == "resnet18":
        peers["one at a time with gradients, as Astronomaly runs it"] = (one_at_a_time, glibc_defaults)
    for precision in get_args(Precision):
        for name, (peer, peer_memory) in peers.items():
            found = compared(
                lambda: embed(encoder, pixels, device=CPU, batch_size=BATCH, precision=precision),  # noqa: B023
                peer,
                rounds=rounds,
                peer_memory=peer_memory,
            )
            columns, a, b = found.columns(), found.our_answer, found.peer_answer
            cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
            yield Row(
                "training",
                f"embedding{BACKBONES[backbone]}, {size} px, {precision}",
                count,
                name,
                **columns,
                limit="3x3 convolutions",
                share=count * gflop(backbone, size) / columns["seconds"] / peaks[precision == "bfloat16"],
                equal=[Equal("cosine short of 1", float(1 - cosine.min()), ROUNDING.get((backbone, precision), 1e-6))],
            )


def measure(small: bool) -> Iterator[Row]:
    """Step, views and embedding, on as many threads as torch was given."""
    rounds = 1 if small else 5
    tries = 2 if small else 12
    peaks = {True: convolution_peak(torch.bfloat16, tries), False: convolution_peak(torch.float32, tries)}
    for size, batch in [(32, 4)] if small else [(64, 32), (128, 16)]:
        for backbone in BACKBONES:
            yield from byol_step(backbone, size, batch, peaks, rounds)
        yield from views(size, 2 if small else 32, rounds)
    for backbone in BACKBONES:
        yield from embedding(backbone, *((32, 4) if small else (224, 96)), peaks, rounds)


if __name__ == "__main__":
    main("training", measure)
