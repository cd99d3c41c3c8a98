"""A network of timm with weights from a file that a person brought: Zoobot, DINOv2, any other.

Belongs here: reading such a file, finding the network in it, and saying what does not fit. Does not belong here:
weights whose place and digest the platform knows (`weights`), and its own checkpoints (`storage.checkpoints`).
"""

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from galaxy_assets.science.encoders.network import Encoder, seeded, timm_network
from galaxy_assets.science.encoders.weights import MissingWeights
from galaxy_assets.settings.networks import Network
from galaxy_assets.settings.printing import PrintableError

_SHOWN = 3  # names in a message


def network_from_file(name: str, settings: Network, data: Path) -> Encoder:
    """The encoder of a network and its file.

    Names of tensors may begin with anything, such as `encoder.` or `module.`; the part of the file that fits the
    network is taken, all of the network must be there, and a classifier is left out. A first layer of one channel sees
    the mean of the three.

    Parameters
    ----------
    name : str
        Of the network; becomes the encoder's `start`.
    settings : Network
    data : Path
        The data folder.

    Returns
    -------
    Encoder
        On the CPU.

    Raises
    ------
    MissingWeights
        Where the file is absent; says where to put it, and where timm's own are published.
    ValueError
        Where timm knows no such model, or the file does not hold it: how many tensors do not fit, and which.
    """
    path = data / settings.weights
    with seeded(0):
        network = timm_network(settings.backbone)
    if not path.is_file():
        raise MissingWeights(
            f"the weights of network {name!r} ({settings.backbone}) are not at {path}; put them there. "
            f"{_published(network)} docs/surveys.md says where Zoobot's and DINO's are"
        )
    state = _fitting(_tensors(path), network, settings, path)
    network.load_state_dict(state)
    published = network.pretrained_cfg
    mean, std = (given or published[key] for given, key in ((settings.mean, "mean"), (settings.std, "std")))
    if len(mean) != len(std) or len(mean) not in (1, 3):
        raise ValueError(
            f"network {name!r}: mean {mean} and std {std} must have one value or three, as many as another"
        )
    return Encoder(
        network,
        backbone=settings.backbone,
        start=name,
        feature_size=network.head_hidden_size,
        mean=tuple(mean) * (3 // len(mean)),
        std=tuple(std) * (3 // len(std)),
    )


class WrongSize(PrintableError):
    """A network that does not take images of a size."""


def check_takes(encoder: Encoder, side: int) -> None:
    """Check that a network takes images of a size.

    Parameters
    ----------
    encoder : Encoder
    side : int
        Pixels.

    Raises
    ------
    WrongSize
        Where it does not; names the size it was made for.
    """
    training = encoder.training
    try:
        with torch.inference_mode():
            encoder.eval()(torch.zeros(1, encoder.in_channels, side, side))
    except (AssertionError, RuntimeError) as error:
        made_for = getattr(encoder.network, "pretrained_cfg", {}).get("input_size", (0, 0, "other"))[-1]
        raise WrongSize(
            f"{encoder.start} ({encoder.backbone}) does not take images of {side} pixels ({error}); set "
            f"recipe.image_size to {made_for}, for which it was made, or take another network"
        ) from error
    finally:
        encoder.train(training)


def _published(network: Any) -> str:
    """Where timm says that weights of this model are."""
    found = network.pretrained_cfg
    if hub := found.get("hf_hub_id"):
        return f"timm publishes weights of that model at https://huggingface.co/{hub} (model.safetensors)."
    return f"timm's are at {found['url']}." if found.get("url") else "timm publishes none of that model."


def _tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file by their names, those in nested dicts as `outer.inner`."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as tensors alone: {str(error).splitlines()[0]}") from error
    return dict(_flat(held, ""))


def _flat(held: Any, before: str) -> list[tuple[str, Tensor]]:
    if isinstance(held, Tensor):
        return [(before.removesuffix("."), held)]
    if isinstance(held, dict):
        return [pair for key, value in held.items() for pair in _flat(value, f"{before}{key}.")]
    return []


def _fitting(tensors: dict[str, Tensor], network: Any, settings: Network, path: Path) -> dict[str, Tensor]:
    """The part of a file's tensors that is the network, under the network's names."""
    wanted = network.state_dict()
    prefix = _prefix(tensors, wanted, settings, path)
    found = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    state = {key: _for_three_channels(found[key], tensor) for key, tensor in wanted.items() if key in found}
    missing = [key for key in wanted if key not in found]
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in state and state[key].shape != tensor.shape
    ]
    classifiers = network.pretrained_cfg.get("classifier") or ()
    heads = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    parts = {key.split(".")[0] for key in wanted if "." in key}
    more = [
        key
        for key in found
        if key not in wanted and key.split(".")[0] in parts and not key.startswith(tuple(f"{h}." for h in heads))
    ]
    wrong = {"are missing": missing, "have another shape": shapes, "are more than it has": more}
    if said := [f"{len(keys)} {what} ({_some(keys)})" for what, keys in wrong.items() if keys]:
        raise ValueError(
            f"{path} does not hold a {settings.backbone}: of its {len(wanted)} tensors {', '.join(said)}. Name the "
            "backbone whose weights these are, or give another file"
        )
    return state


def _prefix(tensors: dict[str, Tensor], wanted: dict[str, Tensor], settings: Network, path: Path) -> str:
    """What the names of the network's tensors begin with in the file: what makes most of them fit."""
    if settings.prefix:
        return settings.prefix.removesuffix(".") + "."
    counts: Counter[str] = Counter()
    for key in tensors:
        parts = key.split(".")
        for i in range(len(parts)):
            if ".".join(parts[i:]) in wanted:
                counts[".".join([*parts[:i], ""]) if i else ""] += 1
    if not counts:
        return ""
    best = max(counts.values())
    likely = sorted(prefix for prefix, count in counts.items() if count == best)
    if len(likely) > 1 and best == len(wanted):
        raise ValueError(
            f"{path} holds {len(likely)} networks that fit a {settings.backbone}: {', '.join(map(repr, likely))}; "
            "choose one as the network's `prefix`"
        )
    return likely[0]


def _for_three_channels(tensor: Tensor, wanted: Tensor) -> Tensor:
    """A first layer of one channel as one of three: it sees their mean."""
    if tensor.ndim == wanted.ndim == 4 and (tensor.shape[1], wanted.shape[1]) == (1, 3):
        return tensor.expand(-1, 3, -1, -1) / 3
    return tensor


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")
