"""The first half of a network as an encoder: what it has made of an image at its middle block.

The last block of a network pretrained on photographs answers for the photographs' classes; the middle one still holds
texture and shape that those classes have no use for (docs/representation.md).

Belongs here: finding the middle of a network, and leaving out what comes after it. Does not belong here: the networks
(`network`), and setting these features beside the last block's (`composition`).
"""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from galaxy_assets.science.encoders.network import Encoder, architecture_metadata, untrained_encoder

VARIANT = "middle"
"""Name of the architecture among the plug-ins of kind `encoders`."""
_FEWEST = 3  # blocks in a row
_REMEDY = "remove `middle` from recipe.beside"


class Middle(nn.Module):
    """A network without what comes after its middle block, but for the mean over the image.

    Parameters
    ----------
    network : nn.Module
        Maps (B, C, H, H) to features. It is changed: blocks after the middle one are taken out, and so are other layers
        with weights that it reaches later.
    channels : int
        C.

    Raises
    ------
    ValueError
        Where the network has no row of blocks.
    """

    def __init__(self, network: nn.Module, channels: int):
        super().__init__()
        if hasattr(network, "num_prefix_tokens"):
            # of a transformer the mean over the image, and not the token of the class
            network.global_pool = "avg"  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        with _told(network):
            _leave_out(network, channels)
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, F) of images (B, C, H, H): the mean over places, or tokens, where the network leaves them."""
        features = self.network(pixels)
        if features.ndim == 4:
            return features.mean((2, 3))
        return features.mean(1) if features.ndim == 3 else features


def middle_network(backbone: str) -> Middle:
    """The first half of a network, randomly initialised: the architecture `middle`.

    Parameters
    ----------
    backbone : str
        JSON of what the whole encoder is, as `network.architecture_metadata` gives it.

    Returns
    -------
    Middle

    Raises
    ------
    ValueError
        Where it is no such description, or of a network that has no row of blocks.
    PluginError
        Where the architecture of the whole is not registered.
    """
    try:
        metadata = json.loads(backbone)
    except json.JSONDecodeError as error:
        raise ValueError(f"backbone {backbone!r} does not say of which network it is the middle: {error}") from error
    whole = untrained_encoder(metadata)
    return Middle(whole.network, whole.in_channels)


def middle_of(encoder: Encoder) -> Encoder:
    """The encoder of a network's middle block.

    The blocks are the first row of three or more layers of one class that hold more than half of the network's
    weights; of n the middle one is number n // 2, counted from 0: the fourth of the seven of an EfficientNet-Lite0,
    the third of the four of a ResNet.

    Parameters
    ----------
    encoder : Encoder
        Is not changed.

    Returns
    -------
    Encoder
        On the CPU, with the weights and the normalisation of the whole up to there.

    Raises
    ------
    ValueError
        Where the network has no row of blocks, or cannot be cut after its middle one.

    Examples
    --------
    >>> from pathlib import Path
    >>> from galaxy_assets.science.encoders.middle import middle_of
    >>> from galaxy_assets.science.encoders.weights import build_encoder
    >>> whole = build_encoder("resnet18", "random", seed=0, weights=Path("data/weights"))
    >>> whole.feature_size, middle_of(whole).feature_size
    (512, 256)
    """
    network = Middle(copy.deepcopy(encoder.network).cpu(), encoder.in_channels)
    features = _checked(network.eval(), copy.deepcopy(encoder.network).cpu().eval(), encoder.in_channels)
    return Encoder(
        network,
        backbone=json.dumps(architecture_metadata(encoder)),
        start=encoder.start,
        feature_size=features.shape[1],
        mean=tuple(encoder.mean.flatten().tolist()),
        std=tuple(encoder.std.flatten().tolist()),
        variant=VARIANT,
    )


@contextmanager
def _told(network: nn.Module) -> Iterator[None]:
    """Say with the remedy what a network's code raises where it finds less of itself than it expects."""
    try:
        yield
    except (AttributeError, TypeError, RuntimeError, AssertionError, IndexError) as error:
        raise ValueError(f"{type(network).__name__} cannot be cut at its middle ({error}); {_REMEDY}") from error


def _checked(half: Middle, whole: nn.Module, channels: int) -> Tensor:
    """What the half answers, after a look whether the whole network's middle block has the same in the mean."""
    found: list[Tensor] = []
    _, middle, _ = _blocks(whole)
    middle.register_forward_hook(lambda *of: found.append(of[-1]))
    sample = torch.rand(_sample(whole, channels).shape, generator=torch.Generator().manual_seed(0))
    with _told(whole):
        with torch.no_grad():
            whole(sample)
            answer, block = half(sample), found[0]
        prefix = getattr(whole, "num_prefix_tokens", 0)
        if block.ndim == 4:
            channels_last = block.shape[1] == block.shape[2] != block.shape[3]
            mean = block.mean((1, 2) if channels_last else (2, 3))
        else:
            mean = block[:, prefix:].mean(1)
        limit = 1e-3 * float(answer.abs().max())
        same = mean.shape == answer.shape and float((mean - answer).abs().max()) <= limit
    if not same or not limit:
        raise ValueError(
            f"{type(whole).__name__} without what comes after its middle block does not answer as that block; {_REMEDY}"
        )
    return answer


def _leave_out(network: nn.Module, channels: int) -> None:
    """Take out the blocks after the middle one, and other layers with weights that are not reached before it ends."""
    parent, middle, later = _blocks(network)
    ended = False
    before, after = set[nn.Module](), set[nn.Module]()

    def called(layer: nn.Module, _: object) -> None:
        (after if ended else before).add(layer)

    def end(*_: object) -> None:
        nonlocal ended
        ended = True

    hooks = [m.register_forward_pre_hook(called) for m in network.modules() if _has_own_weights(m) and m is not network]
    hooks.append(middle.register_forward_hook(end))
    training = network.training
    with torch.no_grad():
        network.eval()(_sample(network, channels))
    network.train(training)
    for hook in hooks:
        hook.remove()
    for name in later:
        if isinstance(parent, nn.Sequential | nn.ModuleList):
            delattr(parent, name)
        else:
            setattr(parent, name, nn.Identity())
    _without(network, after - before)


def _without(module: nn.Module, layers: set[nn.Module]) -> None:
    """Put nothing in the place of layers, wherever they are in a module."""
    for name, child in list(module.named_children()):
        if child in layers:
            setattr(module, name, nn.Identity())
        else:
            _without(child, layers)


def _blocks(network: nn.Module) -> tuple[nn.Module, nn.Module, list[str]]:
    """The module that holds the row of blocks, the middle one, and the names of those after it."""
    whole = _size(network)
    for module in _breadth_first(network):
        of_class: dict[type[nn.Module], list[str]] = {}
        for name, child in module.named_children():
            if any(_size(part) for part in child.children()):  # a block, and no single layer
                of_class.setdefault(type(child), []).append(name)
        for names in of_class.values():
            if len(names) >= _FEWEST and 2 * sum(_size(module.get_submodule(name)) for name in names) > whole:
                return module, module.get_submodule(names[len(names) // 2]), names[len(names) // 2 + 1 :]
    raise ValueError(f"{type(network).__name__} has no row of {_FEWEST} or more blocks, and so no middle; {_REMEDY}")


def _breadth_first(network: nn.Module) -> Iterator[nn.Module]:
    level = [network]
    while level:
        yield from level
        level = [child for module in level for child in module.children()]


def _size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _has_own_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _sample(network: nn.Module, channels: int) -> Tensor:
    """An image of the size for which the network was published."""
    published = getattr(network, "default_cfg", None) or {}
    side = (published.get("input_size") or (3, 224, 224))[-1]
    return torch.zeros(1, channels, side, side)
