"""What a network asks of a computer for one image, counted without computing it.

Belongs here: the networks that a survey's settings name, and their operations. Does not belong here: seconds.
"""

import functools
import json
from dataclasses import dataclass

from galaxy_assets import plugins
from galaxy_assets.settings.recipe import HALVES, OF_START, START
from galaxy_assets.settings.survey import Survey

_VARIANT_OF = {"rgz": "rgz", "classical": None}


@dataclass(frozen=True)
class Counted:
    """A network for images of one size.

    Attributes
    ----------
    operations : float
        Multiplications and additions of one forward pass of one image.
    features : int
        Of its answer.
    depthwise : bool
        Whether it has convolutions of one channel each: a processor waits for memory there, and does a third to a
        sixth of the operations that it does elsewhere in a second (docs/performance.md).
    """

    operations: float
    features: int
    depthwise: bool


@functools.cache
def counted(backbone: str, size: int, variant: str = "timm") -> Counted:
    """Count the operations of a network; no weights are made and no memory is taken.

    Parameters
    ----------
    backbone : str
        timm model name.
    size : int
        Side of its input, pixels.
    variant : str
        Name of its architecture among the plug-ins of kind `encoders`.

    Returns
    -------
    Counted

    Raises
    ------
    ValueError
        Where there is no such backbone, or it takes no images of that size.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with torch.device("meta"), torch.no_grad():
            network = plugins.load("encoders", variant)(backbone).eval()
            layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
            channels = next((layer.in_channels for layer in layers), 3)
            with FlopCounterMode(display=False) as counter:
                features = network(torch.empty(1, channels, size, size)).shape[1]
    except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError) as error:
        raise ValueError(f"{backbone} does not take images of {size} pixels ({error})") from error
    depthwise = any(layer.groups == layer.in_channels > 1 for layer in layers)
    return Counted(float(counter.get_total_flops()), features, depthwise)


def network_of(survey: Survey, start: str) -> Counted | None:
    """The network of some start weights of a survey, at its image size; None where it cannot be counted.

    Parameters
    ----------
    survey : Survey
    start : str
        One of its start weights, or what stands beside them.

    Returns
    -------
    Counted or None
        None for formulae, and for the start weights of another package.
    """
    size = survey.recipe.image_size
    if (named := survey.networks.get(start)) is not None:
        return counted(named.backbone, size)
    if start in plugins.names("start_weights"):
        if plugins.provenance("start_weights", start) is not None:
            return None
        variant = _VARIANT_OF.get(start, "timm")
        return None if variant is None else counted(survey.recipe.backbone, size, variant)
    return counted(survey.recipe.backbone, size)  # of another survey, whose backbone must be this one's


def is_trained(survey: Survey, start: str, galaxies: float) -> bool:
    """Whether start weights are trained at all at a number of galaxies.

    Parameters
    ----------
    survey : Survey
    start : str
    galaxies : float

    Returns
    -------
    bool
        False for formulae, and for a random start of a survey that is too small for one.
    """
    recipe = survey.recipe
    few = start == "random" and galaxies < recipe.fewest_for_random
    return recipe.epochs > 0 and network_of(survey, start) is not None and not few


def parts_of(survey: Survey, start: str, trained: bool) -> list[str]:
    """The start weights whose features stand side by side in the embeddings of some start weights.

    Parameters
    ----------
    survey : Survey
    start : str
    trained : bool
        Whether they are trained; the start stands beside itself only then.

    Returns
    -------
    list of str
        `start` first.
    """
    again = [start] if START in survey.recipe.beside and trained else []
    return [start, *again, *(name for name in survey.recipe.beside if name not in (*OF_START, start))]


def networks_of(survey: Survey, start: str, trained: bool) -> list[Counted | None]:
    """The networks that embed for some start weights.

    Parameters
    ----------
    survey : Survey
    start : str
    trained : bool
        As `parts_of` takes it.

    Returns
    -------
    list of Counted or None
        Of each of `parts_of`, as `network_of` answers, and of the middle block, once and over places, where the survey
        sets these beside.

    Raises
    ------
    ValueError
        Where a network cannot be cut at its middle, or takes no images of the recipe's size, with the remedy.
    """
    found = [network_of(survey, part) for part in parts_of(survey, start, trained)]
    halves = [name for name in HALVES if name in survey.recipe.beside]
    if not halves or found[0] is None:
        return found
    named, variant = survey.networks.get(start), _VARIANT_OF.get(start) or "timm"
    backbone = survey.recipe.backbone if named is None else named.backbone
    channels = json.dumps([1.0] * (1 if variant == "rgz" else 3))
    whole = {"backbone": backbone, "start": start, "variant": variant, "feature_size": str(found[0].features)}
    of_half = json.dumps(whole | {"mean": channels, "std": channels})
    for name in halves:
        try:
            found.append(counted(of_half, survey.recipe.image_size, name))
        except ValueError as error:
            raise ValueError(f"{error}; remove `{name}` from recipe.beside") from error
    return found
