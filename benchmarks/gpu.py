"""One script that shows what a GPU does for this project, wherever one is met; what `make gpu-check` calls.

    python benchmarks/gpu.py [--small] [--pixels FILE.npy] [--json FILE] [--page FILE]

It needs torch, timm, numpy and scikit-learn (with its scipy) alone, ends within six minutes on one GPU, and writes a
JSON: whether the GPU computes what the CPU computes, how many images a second it trains on and embeds beside
byol-pytorch in the same run, what share of its own peaks that is, and how long the paper's training would take.
`--page` writes the page from it. Without a GPU it measures the CPU at a tenth of the sizes, and says so.
`--pixels` names an array (N, H, H, 3) uint8 to train on for the health of a representation, instead of drawn spots.
"""

import argparse
import copy
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from galaxy_assets.science import accelerated, health  # noqa: E402
from galaxy_assets.science.byol import Byol, backward, step, train  # noqa: E402
from galaxy_assets.science.byol_gradients import compiled_where_faster, economies  # noqa: E402
from galaxy_assets.science.device_check import (  # noqa: E402
    CPU,
    Equality,
    Nowhere,
    Speed,
    convolution_peak,
    copy_peak,
    embedding_speed,
    equalities,
    random_encoder,
    random_pixels,
    training_speed,
    wait_for,
)
from galaxy_assets.science.devices import autocast, choose_devices, describe  # noqa: E402
from galaxy_assets.science.training import adam  # noqa: E402

PAPER = {
    "backbone": "resnet18",
    "image_size": 300,
    "epochs": 20,
    "batch_size": 128,
    "learning_rate": 1e-4,
    "tau": 0.99,
    "projection_size": 100,
    "projection_hidden_size": 4096,
    "batch_norm": "per_view",
    "freeze_statistics": False,
    "blur_probability": 0.5,
    "flip_probability": 0.5,
    "crop_probability": 0.7,
    "crop_minimum": 0.7,
    "rotation_probability": 0.7,
    "rotation_maximum": 180.0,
    "contrast": 0.0,
    "noise": 0.0,
    "orientations": 1,
    "precision": "float32",
    "seed": 0,
}
"""The preset `paper` of `galaxy_assets.settings.recipe`, for machines without pydantic; a test holds the two equal."""
IMAGES, EPOCHS, PAPER_HOURS = 232_041, 20, 11  # of the paper's headline, on one P100 (section 4.1)
TARGETS = {
    "training at 300 px, times byol-pytorch": 3.0,
    "training at 300 px, share of the convolution peak": 0.5,
    "the paper's training, minutes at most": 15.0,
    "embedding at 224 px in bfloat16, images a second": 20_000.0,
}
"""What is asked of an H100."""


def recipe(**changes: Any) -> Any:
    """The paper's recipe with changes, as far as the science functions look at one."""
    fields = PAPER | changes
    told = SimpleNamespace(**fields, deciding=lambda: fields)
    told.of_epochs = lambda: told
    return told


class Published(nn.Module):
    """byol-pytorch 0.9's learner (P. Wang, MIT licence) with simplicial embeddings off, for machines without it.

    Both views together through the networks, the target without a gradient, and a target that follows parameter by
    parameter. A test holds it against the package.
    """

    def __init__(self, encoder: nn.Module, features: int, hidden: int, tau: float):
        super().__init__()

        size = PAPER["projection_size"]

        def head(inputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, size)
            )

        self.online = nn.Sequential(encoder, head(features))
        self.predictor = head(size)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.tau = tau

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Loss of two views, one after the other in `images`."""
        one, two = self.predictor(self.online(images)).chunk(2)
        with torch.no_grad():
            z_one, z_two = self.target(images).chunk(2)
        normal = [F.normalize(x, dim=-1, p=2) for x in (one, two, z_one, z_two)]
        first = 2 - 2 * (normal[0] * normal[3]).sum(dim=-1)
        second = 2 - 2 * (normal[1] * normal[2]).sum(dim=-1)
        return (first + second).mean()

    def update_moving_average(self) -> None:
        """Let the target follow."""
        for online, target in zip(self.online.parameters(), self.target.parameters(), strict=True):
            target.data = target.data * self.tau + (1 - self.tau) * online.data


def peer_step(size: int, batch: int, hidden: int, device: torch.device) -> Callable[[], None]:
    """One step of byol-pytorch as its README has it, on views that are ready: float32, with torch's defaults."""
    torch.backends.cudnn.allow_tf32 = True  # torch's default, which this project turns off
    encoder, views = random_encoder(), torch.rand(2 * batch, 3, size, size, device=device)
    try:
        from byol_pytorch import BYOL

        learner = BYOL(
            encoder,
            size,
            hidden_layer=-1,
            projection_size=PAPER["projection_size"],
            projection_hidden_size=hidden,
            augment_fn=lambda images: images.chunk(2)[0],
            augment_fn2=lambda images: images.chunk(2)[1],
            use_simplicial_embeddings=False,
        ).to(device)
    except ImportError:
        learner = Published(encoder, encoder.feature_size, hidden, 0.99).to(device)
    optimiser = torch.optim.Adam(learner.parameters(), lr=1e-4)

    def one() -> None:
        loss = learner(views)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        learner.update_moving_average()

    return one


def per_second(work: Callable[[], None], images: int, device: torch.device, steps: int) -> float:
    """Images a second of some steps after three that are not timed."""
    for _ in range(3 if steps > 3 else 0):
        work()
    wait_for(device)
    began = time.perf_counter()
    for _ in range(steps):
        work()
    wait_for(device)
    return images * steps / (time.perf_counter() - began)


def saving_memory(device: torch.device) -> Iterator[Equality]:
    """Steps that save memory beside whole ones, in float64 (float32 on MPS)."""
    dtype, limit = (torch.float32, 1e-4) if device.type == "mps" else (torch.float64, 1e-8)
    for batch_norm, freeze in ("per_view", False), ("concat", True), ("concat", False):
        small = recipe(batch_norm=batch_norm, projection_hidden_size=64)
        learner = Byol(random_encoder().to(dtype), small, freeze=freeze).to(device, dtype)
        views = [torch.rand(4, 3, 32, 32, dtype=dtype, device=device) for _ in range(2)]
        gradients = []
        ways = economies(small, freeze, 8)
        for way in (ways[0], *ways[-2:]):
            learner.zero_grad(set_to_none=True)
            backward(learner, views[0], views[1], autocast(device, "float32"), way)
            parameters = (p.grad.flatten() for p in learner.parameters() if p.grad is not None)
            gradients.append(torch.cat(list(parameters)))
        far = max(float((other - gradients[0]).abs().max()) for other in gradients[1:])
        yield Equality(f"gradients in parts, {batch_norm}, {'frozen' if freeze else 'training'}", far, limit)


def large_sums(device: torch.device, n: int) -> Iterator[Equality]:
    """Neighbours, mixture and Gaussian process on a device beside the CPU, in float64; not on MPS, which has none."""
    if device.type == "mps":
        return
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n, 29)) * np.linspace(3, 0.2, 29)
    near = [accelerated.neighbour_lists(features, 40, where) for where in (CPU, device)]
    yield Equality("neighbours that differ", float((near[0] != near[1]).mean()), 1e-4)
    coefficients = rng.normal(size=(10 * 20, 29 * 30 // 2 + 30)) / 50
    found = [
        accelerated.MixtureTerms(features, where).expectation(coefficients, 20, np.float64) for where in (CPU, device)
    ]
    far = max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(*found, strict=True))
    yield Equality("sums of the mixture, relative", far, 1e-10)
    known, weights, inverse = features[:100], rng.normal(size=100), np.tril(rng.normal(size=(100, 100))) / 50
    scores = [accelerated.predict_scores(features, known, weights, inverse, 9.0, where) for where in (CPU, device)]
    yield Equality("scores of the Gaussian process", float(np.abs(scores[0][0] - scores[1][0]).max()), 1e-9)


def representation_health(
    device: torch.device, pixels: np.ndarray, heads: dict[str, int], epochs: int
) -> list[dict[str, float]]:
    """Health after a training on the CPU and on the device from the same recipe, of the same images."""
    size = pixels.shape[1]
    small = recipe(
        image_size=size,
        epochs=epochs,
        batch_size=32,
        batch_norm="concat",
        crop_probability=1.0,
        crop_minimum=0.6,
        **heads,
    )
    rows, found = np.arange(len(pixels)), []
    for where in (CPU, device):
        encoder, losses = random_encoder(), []
        train(
            encoder,
            pixels,
            rows,
            small,
            freeze=False,
            devices=[where],
            state=Nowhere(),
            on_epoch=lambda result, _, losses=losses: losses.append(result.loss),
        )
        measured = health.measure(encoder.to("cpu"), pixels, rows, small, where)
        found.append({"device": where.type, "loss": losses[-1], **measured.asdict()})
    return found


def host_waits(device: torch.device) -> str:
    """Whether the host waits for a GPU inside an epoch; torch names the place where it does."""
    if device.type != "cuda":
        return "no GPU"
    small = recipe(image_size=64, batch_size=32, epochs=1)
    encoder = random_encoder().to(device).to(memory_format=torch.channels_last)
    learner = Byol(encoder, small, freeze=False).to(device)
    optimiser = adam(learner, small)

    def steps() -> None:
        from galaxy_assets.science.augmentation import augment
        from galaxy_assets.science.batches import Batches

        generator = torch.Generator().manual_seed(0)
        for batch in Batches(random_pixels(96, 64), np.arange(96), device, keep=True)(np.arange(96), 32):
            views = [augment(batch.permute(0, 3, 1, 2), small, generator, 64) for _ in range(2)]
            step(learner, optimiser, *views, bfloat16=True)

    steps()
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps()
    except RuntimeError as error:
        return f"it waits: {error}"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "it does not wait"


def compiling(device: torch.device) -> str:
    """What compiling the forward pass comes to at 128 px, in the words of the log."""
    if device.type != "cuda":
        return "no GPU"
    import logging

    class Kept(logging.Handler):
        words = ""

        def emit(self, record: logging.LogRecord) -> None:
            self.words = record.getMessage()

    kept = Kept()
    logger = logging.getLogger("galaxy_assets.science.byol_gradients")
    logger.setLevel(logging.INFO)
    logger.addHandler(kept)
    encoder = random_encoder().to(device).to(memory_format=torch.channels_last)
    learner = Byol(encoder, recipe(), freeze=False).to(device)
    views = [torch.rand(128, 3, 128, 128, device=device) for _ in range(2)]
    compiled_where_faster(learner, views, autocast(device, "bfloat16"))
    logger.removeHandler(kept)
    return kept.words


def measure(device: torch.device, small: bool, pixels: np.ndarray) -> dict[str, Any]:
    """Everything, as JSON values; each part is printed as it is found."""
    began, found = time.monotonic(), describe(device)
    result: dict[str, Any] = {
        "gpu": device.type != "cpu",
        "small": small,
        "device": found.name,
        "memory_gb": found.memory / 1e9,
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda}",
        "measured": time.strftime("%Y-%m-%d"),
        "equality": [],
        "speed": [],
    }
    say(f"{found.name}, {result['versions']}")
    heads = {"projection_hidden_size": 256 if small else 4096}
    own = recipe(**heads)
    parts = equalities(own, device), saving_memory(device), large_sums(device, 600 if small else 20_000)
    for equality in (equality for part in parts for equality in part):
        result["equality"].append(equality.asdict() | {"holds": equality.holds})
        say(f"{'equal' if equality.holds else 'DIFFERENT'}  {equality.what}: {equality.found:.1e}")
    result["health"] = representation_health(device, pixels, heads, 1 if small else 4)
    result["host_waits"] = host_waits(device)
    say(f"host inside an epoch: {result['host_waits']}")
    tries: tuple[Any, ...] = ("bfloat16", "float32")
    result["peaks"] = {precision: convolution_peak(device, precision) for precision in tries}
    result["peaks"]["copy_gb_s"] = copy_peak(device)
    say(f"peaks: {result['peaks']}")
    for speed in speeds(device, small, heads, result["peaks"]):
        result["speed"].append(speed)
        say("{what} {size} px {precision}: {images_per_second:.0f} images/s".format(**speed))
    result["compiling"] = compiling(device)
    fastest = max(
        s["images_per_second"]
        for s in result["speed"]
        if s["what"] == "training" and s["size"] == (30 if small else 300)
    )
    result["headline"] = {"images": IMAGES, "epochs": EPOCHS, "minutes": IMAGES * EPOCHS / fastest / 60}
    result["targets"] = targets(result, small)
    result["seconds"] = time.monotonic() - began
    return result


def speeds(
    device: torch.device, small: bool, heads: dict[str, int], peaks: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """Training and embedding at four sizes in both precisions, beside byol-pytorch."""
    batch = 8 if small else 128
    for size in (64, 128, 224, 300):
        pixels, steps = (size // 10, 1) if small else (size, 60 if size < 300 else 100)
        pixels = max(pixels, 16)
        peer = per_second(peer_step(pixels, batch, heads["projection_hidden_size"], device), batch, device, steps)
        choose_devices()  # float32 is float32 again
        for precision in ("bfloat16", "float32"):
            own = recipe(image_size=pixels, batch_size=batch, epochs=2, precision=precision, **heads)
            count = 16 if small else 300_000 // size * (10 if precision == "bfloat16" else 4)
            for speed in (
                training_speed(own, device, steps=steps),
                embedding_speed(device, size=pixels, count=count, precision=precision),  # pyright: ignore
            ):
                beside = peer if speed.what == "training" else math.nan
                yield as_row(speed, peaks[precision], beside)


def as_row(speed: Speed, peak: float, peer: float) -> dict[str, Any]:
    """A speed as JSON values, with its share of the peak and its ratio to the peer."""
    row = speed.asdict() | {"peer": peer, "ratio": speed.images_per_second / peer, "share": speed.teraflops / peak}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def targets(result: dict[str, Any], small: bool) -> list[dict[str, Any]]:
    """What is asked of a GPU, and what was found; nothing on the small sizes of a CPU."""
    if small:
        return []
    best = {
        (row["what"], row["size"]): row for row in sorted(result["speed"], key=lambda row: row["images_per_second"])
    }
    training, embedding = best["training", 300], best["embedding", 224]
    found = (training["ratio"], training["share"], result["headline"]["minutes"], embedding["images_per_second"])
    return [
        {
            "what": what,
            "target": target,
            "found": value,
            "met": value <= target if "at most" in what else value >= target,
        }
        for (what, target), value in zip(TARGETS.items(), found, strict=True)
    ]


UNSEEN = (
    "`science/devices.py`: names, free memory and bfloat16 of GPUs; float32 without TF32; what cuBLAS and cuDNN "
    "say when memory is full",
    "`science/batches.py`: pixels kept on the GPU, and read ahead through pinned memory on a stream of their own",
    "`science/augmentation.py`: noise that the GPU draws itself",
    "`science/byol_gradients.py`: a full memory on a real GPU, activations in the computer's memory, and whether the "
    "compiled forward pass is faster",
    "`science/training.py`: that the host waits for the GPU at the end of an epoch alone",
    "`science/distributed.py`: several GPUs over NCCL (two processes of the CPU over gloo train as one in the tests)",
    "`science/accelerated.py`: the large sums on CUDA, and from how many galaxies the way there pays",
    "Apple's MPS: everything",
)
"""Where code waits for a GPU; the page lists it as long as none was seen."""


def page(result: dict[str, Any]) -> str:
    """The page from the JSON."""
    gpu = result["gpu"]
    lines = [
        "# On a GPU",
        "",
        "Written by `make gpu-check` from [gpu.json](gpu.json); what it measures is in `benchmarks/gpu.py`.",
        "",
        f"Device: **{result['device']}**, {result['memory_gb']:.0f} GB; {result['versions']}; {result['measured']}.",
        "",
    ]
    if not gpu:
        lines += [
            "**No GPU was seen.** The numbers below are of a CPU at a tenth of the sizes: they show that the script "
            "runs and that its two sides agree, and say nothing about speed. What no GPU has run yet:",
            "",
            *(f"- {line}" for line in UNSEEN),
            "",
        ]
    lines += ["## Equal to the CPU", "", "| what | found | limit | holds |", "|---|---|---|---|"]
    lines += [
        f"| {row['what']} | {row['found']:.1e} | {row['limit']:.0e} | {'yes' if row['holds'] else '**no**'} |"
        for row in result["equality"]
    ]
    names = [name for name in result["health"][0] if name != "device"]
    lines += ["", "Health of a representation after the same short training:", ""]
    lines += ["| device | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {row['device']} | " + " | ".join(f"{row[n]:.4g}" for n in names) + " |" for row in result["health"]]
    lines += ["", f"Whether the host waits for the GPU inside an epoch: {result['host_waits']}.", ""]
    lines += [
        "## Speed" if gpu else "## Speed of the CPU",
        "",
        "ResNet-18, images a second; training with its views, beside byol-pytorch's step in float32 on ready views.",
    ]
    peaks = result["peaks"]
    lines += [
        "",
        f"Peaks: convolutions {peaks['bfloat16']:.3g} TFLOP/s in bfloat16, {peaks['float32']:.3g} in float32; copies "
        f"{peaks['copy_gb_s']:.0f} GB/s.",
        "",
        "| what | px | batch | precision | images/s | byol-pytorch | ratio | share of the peak | memory, GB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['what']} | {row['size']} | {row['batch']} | {row['precision']} | {row['images_per_second']:,.0f} | "
        f"{_or_dash(row['peer'], ',.0f')} | {_or_dash(row['ratio'], '.2f')} | {row['share']:.0%} | "
        f"{_or_dash(row['memory_gb'], '.1f')} |"
        for row in result["speed"]
    ]
    if gpu:
        lines += [
            "",
            f"Compiling: {result['compiling']}.",
            "",
            f"The paper's training ({IMAGES:,} images of 300 px, {EPOCHS} epochs, batch 128; {PAPER_HOURS} h on a "
            f"P100) would take {result['headline']['minutes']:.0f} minutes.",
            "",
            "| asked of an H100 | target | found | met |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {row['what']} | {row['target']:,.4g} | {row['found']:,.4g} | {'yes' if row['met'] else '**no**'} |"
            for row in result["targets"]
        ]
    return "\n".join([*lines, ""])


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def say(line: str) -> None:
    """Progress, at once."""
    print(line, flush=True)


def main() -> None:
    """Measure, write, and end with 1 where answers differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a tenth of the sizes; the rule without a GPU")
    parser.add_argument("--pixels", type=Path, help="images (N, H, H, 3) uint8 in a .npy file")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--page", type=Path, help="page to write from it")
    given = parser.parse_args()
    device = choose_devices()[0]
    small = given.small or device.type == "cpu"
    pixels = (
        np.load(given.pixels, allow_pickle=False)
        if given.pixels
        else random_pixels(64 if small else 600, 32 if small else 64)
    )
    result = measure(device, small, pixels)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if given.page:
        given.page.write_text(page(result), encoding="utf-8")
    say(f"{result['seconds']:.0f} s")
    sys.exit(not all(row["holds"] for row in result["equality"]))


if __name__ == "__main__":
    main()
