"""Speed of a BYOL step, of the views and of embedding, beside what a user would pick instead.

    OMP_NUM_THREADS=1 python benchmarks/training.py
    OMP_NUM_THREADS=2 python benchmarks/training.py

Peers: byol-pytorch's learner as shipped (without simplicial embeddings, which the paper does not have), torchvision's
transforms on one image at a time, kornia's on a batch, and inference one image at a time as Astronomaly does it. Our
turns and the peer's alternate, each after a call that is not timed and with the memory allocator as it runs in
practice: ours keeps freed memory (`keep_freed_memory`), the peer's has glibc's defaults. What is printed are medians
and ranges of the ratios within a turn, in wall time.
Weights are random: speed does not depend on them. The share is that of the 3x3 convolutions measured in the same run.
"""

import copy
import ctypes
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import kornia.augmentation as K
import numpy as np
import torch
from byol_pytorch import BYOL
from PIL import Image
from torch import nn
from torchvision import transforms as T

from galaxy_assets.science.augmentation import augment
from galaxy_assets.science.byol import Byol, adam, step
from galaxy_assets.science.encoders import Encoder, build_encoder, embed, keep_freed_memory
from galaxy_assets.surveys.model import Recipe

CPU = torch.device("cpu")
ROUNDS = 5
FORWARD_GFLOP = 3.64  # ResNet-18 at 224 px, multiplications and additions; a BYOL step is worth eight forward passes


def glibc_defaults() -> None:
    """Where glibc's own thresholds settle in a process that frees large blocks."""
    libc = ctypes.CDLL(None)
    for parameter, value in {-3: 2**25, -1: 2**26, -2: 2**17}.items():  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD
        libc.mallopt(parameter, value)


def paired(ours: Callable[[], object], peer: Callable[[], object], repeats: int = 1) -> tuple[list[float], float]:
    """Ratios peer / ours of ROUNDS turns, and the median seconds of ours; the first turn warms up and is left out."""
    ratios, seconds = [], []
    for turn in range(ROUNDS + 1):
        took = {}
        for function in (ours, peer) if turn % 2 else (peer, ours):
            (keep_freed_memory if function is ours else glibc_defaults)()
            function()
            began = time.perf_counter()
            for _ in range(repeats):
                function()
            took[function] = (time.perf_counter() - began) / repeats
        if turn:
            ratios.append(took[peer] / took[ours])
            seconds.append(took[ours])
    return ratios, statistics.median(seconds)


def say(what: str, ratios: list[float], seconds: float, gflop: float = 0, peak: float = 0) -> None:
    """Print one row."""
    share = f"{gflop / seconds / peak:6.0%}" if gflop else "      "
    print(
        f"{what:46s} x{statistics.median(ratios):6.2f} [{min(ratios):.2f} .. {max(ratios):.2f}] "
        f"{1e3 * seconds:9.1f} ms {share}",
        flush=True,
    )


def convolution_peak(dtype: torch.dtype) -> float:
    """GFLOP/s of the best of ten 3x3 convolutions with 256 channels."""
    conv = nn.Conv2d(256, 256, 3, padding=1, bias=False).to(dtype).to(memory_format=torch.channels_last)
    x = torch.rand(16, 256, 28, 28, dtype=dtype).contiguous(memory_format=torch.channels_last)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(12):
            began = time.perf_counter()
            conv(x)
            best = min(best, time.perf_counter() - began)
    return 2 * 256 * 256 * 9 * 28 * 28 * 16 / best / 1e9


def network() -> Encoder:
    """A ResNet-18 with random weights."""
    return build_encoder("resnet18", "random", seed=0, weights=Path())


def byol_step(size: int, batch: int, peaks: dict[bool, float]) -> None:
    """One step on ready views, ours in both precisions against byol-pytorch in float32."""
    views = [torch.rand(batch, 3, size, size) for _ in range(2)]
    turns = [0]

    def view(_: torch.Tensor) -> torch.Tensor:
        turns[0] += 1
        return views[turns[0] % 2]

    theirs = BYOL(
        copy.deepcopy(network()),
        size,
        hidden_layer=-1,
        projection_size=256,
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

    recipe = Recipe(preset="paper", batch_norm="concat")
    laid_out = [v.contiguous(memory_format=torch.channels_last) for v in views]
    for bfloat16 in (True, False):
        encoder = network()
        encoder.to(memory_format=torch.channels_last)
        learner = Byol(encoder, recipe, freeze=False)
        own = adam(learner, recipe)
        ratios, seconds = paired(lambda: step(learner, own, *laid_out, bfloat16=bfloat16), peer)  # noqa: B023
        gflop = 8 * batch * FORWARD_GFLOP * (size / 224) ** 2
        name = f"BYOL step {size} px, batch {batch}, {'bfloat16' if bfloat16 else 'float32'} / byol-pytorch"
        say(name, ratios, seconds, gflop, peaks[bfloat16])


def views(size: int, batch: int = 32) -> None:
    """One view of each of a batch: ours from the stored pixels, torchvision's from the cutout, kornia's from pixels."""
    recipe = Recipe(preset="paper")
    stored = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (batch, 3, size, size), np.uint8))
    pictures = [Image.fromarray(a) for a in np.random.default_rng(0).integers(0, 256, (batch, 300, 300, 3), np.uint8)]
    generator = torch.Generator().manual_seed(0)
    single = T.Compose(
        [
            T.RandomApply([T.GaussianBlur(5, (0.1, 2.0))], 0.5),
            T.RandomHorizontalFlip(),
            T.RandomVerticalFlip(),
            T.RandomApply([T.RandomRotation(180, T.InterpolationMode.BILINEAR)], 0.7),
            T.RandomApply([T.RandomResizedCrop(300, (0.7, 1.0))], 0.7),
            T.Resize(size),
            T.ToTensor(),
        ]
    )
    together = nn.Sequential(
        K.RandomHorizontalFlip(),
        K.RandomVerticalFlip(),
        K.RandomRotation(180.0, p=0.7),
        K.RandomResizedCrop((size, size), (0.7, 1.0), p=0.7),
        K.RandomGaussianBlur((5, 5), (0.1, 2.0), p=0.5),
    )

    def ours() -> None:
        augment(stored, recipe, generator, size)

    say(f"{batch} views {size} px / torchvision, 300 px", *paired(ours, lambda: [single(p) for p in pictures], 3))
    say(f"{batch} views {size} px / kornia, {size} px", *paired(ours, lambda: together(stored.float() / 255), 3))


def embedding(size: int, count: int, peaks: dict[bool, float]) -> None:
    """Features of images, ours in both precisions against one at a time with gradients on."""
    encoder = network().eval().requires_grad_(True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    alone = copy.deepcopy(encoder)
    reference: list[np.ndarray] = []

    def peer() -> None:
        reference[:] = [
            alone(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255).detach().numpy()[0] for image in pixels
        ]

    for precision in ("bfloat16", "float32"):
        found: list[np.ndarray] = []

        def ours() -> None:
            found[:] = [embed(encoder, pixels, device=CPU, batch_size=32, precision=precision)]  # noqa: B023

        ratios, seconds = paired(ours, peer)
        a, b = found[0], np.stack(reference)
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        gflop = count * FORWARD_GFLOP * (size / 224) ** 2
        say(f"embedding {size} px, {precision} / one at a time", ratios, seconds, gflop, peaks[precision == "bfloat16"])
        print(f"{'':46s} least cosine {cosine.min():.7f}")


def main() -> None:
    """Everything, on as many threads as torch was given."""
    peaks = {True: convolution_peak(torch.bfloat16), False: convolution_peak(torch.float32)}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), Python {sys.version.split()[0]}")
    print(f"3x3 convolutions: {peaks[False]:.0f} GFLOP/s float32, {peaks[True]:.0f} bfloat16")
    print(f"{'':46s} ratio   range            ours      share of the convolutions")
    byol_step(64, 32, peaks)
    byol_step(128, 16, peaks)
    views(64)
    views(128)
    embedding(224, 32, peaks)


if __name__ == "__main__":
    main()
