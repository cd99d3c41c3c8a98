"""The first half of a network as an encoder: what it has made of an image at its middle block.

The last block of a network pretrained on photographs answers for the photographs' classes; the middle one still holds
texture and shape that those classes have no use for, and where in the image they are (docs/representation.md).

Belongs here: finding the middle of a network, leaving out what comes after it, and its means over places. Does not
belong here: the networks (`network`), and setting these features beside the last block's (`composition`).
"""

import copy
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from galaxy_assets.science.encoders.network import Encoder, architecture_metadata, untrained_encoder
from galaxy_assets.settings.recipe import MIDDLE, PYRAMID

_FEWEST = 3  # blocks in a row
_PARTS = 4  # of a row or column of the image
_LEAST = 3  # places of a row, below which the parts are all alike
_MEAN = 3.0  # how often the mean over the image counts beside those over places


class Pyramid(nn.Module):
    """A block that answers its means over the image and over places of it.

    This is spatial pyramid pooling (Lazebnik et al. 2006). The image is a square of four by four parts, which overlap
    where its side is no multiple of four, and parts that mirror images exchange are one place: the four in the middle
    are its inside, the four at the corners its corners; left and right between the corners are the ends of the rows,
    above and below those of the columns. Of a cutout whose major axis lies level, the ends of the rows are those of the
    galaxy. The mean over the image counts three times, so that it varies about as much as the four places together
    (docs/representation.md).

    Parameters
    ----------
    block : nn.Module
        Answers (B, C, h, w), (B, h, w, C) or tokens (B, prefix + h h, C).
    prefix : int
        Tokens before those of the image.
    """

    def __init__(self, block: nn.Module, prefix: int = 0):
        super().__init__()
        self.block = block
        self.prefix = prefix

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """The block's answer with one place of 5 C features in place of all: what pools it afterwards hands it on.

        Raises RuntimeError where tokens do not form a square, or there are fewer than three places in a row.
        """
        return self.over_places(self.block(*inputs, **named))

    def over_places(self, answer: Tensor) -> Tensor:
        """The means of an answer of the block, in its form."""
        if answer.ndim == 3:
            tokens = answer[:, self.prefix :]
            side = math.isqrt(tokens.shape[1])
            if side * side != tokens.shape[1]:
                raise RuntimeError(f"{tokens.shape[1]} tokens are no square image")
            found = _over_places(tokens.transpose(1, 2).unflatten(2, (side, side)))[:, None]
            return torch.cat([found.new_zeros(len(found), self.prefix, found.shape[2]), found], 1)
        if _channels_last(answer):
            return _over_places(answer.permute(0, 3, 1, 2))[:, None, None]
        return _over_places(answer)[:, :, None, None]


def _over_places(image: Tensor) -> Tensor:
    """(B, 5 C) of (B, C, h, w)."""
    height, width = image.shape[2:]
    if min(height, width) < _LEAST:
        raise RuntimeError(f"an answer of {height} x {width} places has no inside; images of more pixels have one")
    # the windows of torch's adaptive pooling, which not every device has where sizes do not divide
    parts = torch.einsum("pi,bcij,qj->bcpq", _windows(height).to(image), image, _windows(width).to(image))
    folded = (parts + parts.flip(2) + parts.flip(3) + parts.flip(2, 3)) / 4
    return torch.cat([_MEAN * image.mean((2, 3)), folded[:, :, :2, :2].flatten(1)], 1)


def _windows(side: int) -> Tensor:
    """(4, side): the weights of what stands in a row in the mean of each of its four parts."""
    at, parts = torch.arange(side), torch.arange(_PARTS)[:, None]
    inside = (at >= parts * side // _PARTS) & (at < -(-(parts + 1) * side // _PARTS))
    return inside / inside.sum(1, keepdim=True)


def _channels_last(answer: Tensor) -> bool:
    return answer.shape[1] == answer.shape[2] != answer.shape[3]


class Middle(nn.Module):
    """A network without what comes after its middle block, but for the mean over the image, or over places of it.

    Parameters
    ----------
    network : nn.Module
        Maps (B, C, H, H) to features. It is changed: blocks after the middle one are taken out, and so are other layers
        with weights that it reaches later.
    channels : int
        C.
    pyramid : bool
        Answer the means over places (`Pyramid`) in place of the mean over the image.

    Raises
    ------
    ValueError
        Where the network has no row of blocks, or `pyramid` of one that keeps its tokens in an order of its own.
    """

    def __init__(self, network: nn.Module, channels: int, *, pyramid: bool = False):
        super().__init__()
        if hasattr(network, "num_prefix_tokens"):
            # of a transformer the mean over the image, and not the token of the class
            network.global_pool = "avg"  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        with _told(network):
            parent, block, name = _leave_out(network, channels)
        if pyramid:
            if hasattr(network, "reroll"):  # Hiera
                raise ValueError(f"{type(network).__name__} does not keep its tokens in the order of the image")
            setattr(parent, name, Pyramid(block, getattr(network, "num_prefix_tokens", 0)))
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
    return _untrained(backbone, pyramid=False)


def pyramid_network(backbone: str) -> Middle:
    """The first half of a network with its means over places, randomly initialised: the architecture `pyramid`.

    Parameters
    ----------
    backbone : str
        As `middle_network` takes it.

    Returns
    -------
    Middle

    Raises
    ------
    ValueError, PluginError
        As `middle_network` raises them.
    """
    return _untrained(backbone, pyramid=True)


def _untrained(backbone: str, *, pyramid: bool) -> Middle:
    try:
        metadata = json.loads(backbone)
    except json.JSONDecodeError as error:
        raise ValueError(f"backbone {backbone!r} does not say of which network it is the middle: {error}") from error
    whole = untrained_encoder(metadata)
    return Middle(whole.network, whole.in_channels, pyramid=pyramid)


def middle_of(encoder: Encoder, *, pyramid: bool = False, side: int | None = None) -> Encoder:
    """The encoder of a network's middle block.

    The blocks are the first row of three or more layers of one class that hold more than half of the network's
    weights; of n the middle one is number n // 2, counted from 0: the fourth of the seven of an EfficientNet-Lite0,
    the third of the four of a ResNet.

    Parameters
    ----------
    encoder : Encoder
        Is not changed.
    pyramid : bool
        Means over places (`Pyramid`), five times as many features, in place of the mean over the image.
    side : int, optional
        Of the images that it will take, pixels: it is tried on one.

    Returns
    -------
    Encoder
        On the CPU, with the weights and the normalisation of the whole up to there.

    Raises
    ------
    ValueError
        Where the network has no row of blocks, cannot be cut after its middle one, or does not take such images, with
        the remedy.

    Examples
    --------
    >>> from pathlib import Path
    >>> from galaxy_assets.science.encoders.middle import middle_of
    >>> from galaxy_assets.science.encoders.weights import build_encoder
    >>> whole = build_encoder("resnet18", "random", seed=0, weights=Path("data/weights"))
    >>> whole.feature_size, middle_of(whole).feature_size, middle_of(whole, pyramid=True).feature_size
    (512, 256, 1280)
    """
    variant = PYRAMID if pyramid else MIDDLE
    try:
        network = Middle(copy.deepcopy(encoder.network).cpu(), encoder.in_channels, pyramid=pyramid).eval()
        features = _checked(network, copy.deepcopy(encoder.network).cpu().eval(), encoder.in_channels, pyramid)
        if side is not None:
            with _told(network.network), torch.no_grad():
                network(torch.zeros(1, encoder.in_channels, side, side))
    except ValueError as error:
        raise ValueError(f"{error}; remove `{variant}` from recipe.beside") from error
    return Encoder(
        network,
        backbone=json.dumps(architecture_metadata(encoder)),
        start=encoder.start,
        feature_size=features.shape[1],
        mean=tuple(encoder.mean.flatten().tolist()),
        std=tuple(encoder.std.flatten().tolist()),
        variant=variant,
    )


@contextmanager
def _told(network: nn.Module) -> Iterator[None]:
    """Say what a network's code raises where it finds less of itself than it expects."""
    try:
        yield
    except (AttributeError, TypeError, RuntimeError, AssertionError, IndexError) as error:
        raise ValueError(f"{type(network).__name__} cannot be cut at its middle ({error})") from error


def _checked(half: Middle, whole: nn.Module, channels: int, pyramid: bool) -> Tensor:
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
        if pyramid:
            mean = Pyramid(middle, prefix).over_places(block)
            mean = mean[:, prefix:].flatten(1) if block.ndim == 3 else mean.flatten(1)
        elif block.ndim == 4:
            mean = block.mean((1, 2) if _channels_last(block) else (2, 3))
        else:
            mean = block[:, prefix:].mean(1)
        limit = 1e-3 * float(answer.abs().max())
        same = mean.shape == answer.shape and float((mean - answer).abs().max()) <= limit
    if not same or not limit:
        raise ValueError(
            f"{type(whole).__name__} without what comes after its middle block does not answer as that block"
        )
    return answer


def _leave_out(network: nn.Module, channels: int) -> tuple[nn.Module, nn.Module, str]:
    """Take out the blocks after the middle one, and other layers with weights that are not reached before it ends.

    Returns what holds the middle block, that block, and its name there.
    """
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
    return parent, middle, next(name for name, child in parent.named_children() if child is middle)


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
    raise ValueError(f"{type(network).__name__} has no row of {_FEWEST} or more blocks, and so no middle")


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
