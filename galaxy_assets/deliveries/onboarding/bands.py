"""Which planes of a folder's files are the image, from a few of them.

Belongs here: FITS extensions, cubes, stacks of channels, and files of one band each. Does not belong here: the rules by
which a file is read (`deliveries.decoding.planes`).
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from galaxy_assets.deliveries.decoding.planes import GRZ, Planes, is_band, wavelength
from galaxy_assets.deliveries.images import UnreadableImage, decode, read_planes
from galaxy_assets.deliveries.suffixes import without_suffix
from galaxy_assets.settings.source import Source

_LOOKED_AT = 30  # files
_FULL, _DARK = 250, 40  # levels of 8 bits
_BY_BAND = re.compile(r"(.+?)[._-]?((?<=[._-])[ugrizyJHK]|[fF]\d{3,4}[wWmMnN])")


@dataclass(frozen=True)
class Bands:
    """What `look_at_bands` found.

    Attributes
    ----------
    settings : dict
        Of `source`: `bands` and `colour`, where the files have several planes that no picture has.
    reason : str
        Why, in words; empty where there are none.
    caution : str
        What a person should decide; empty where there is nothing.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    caution: str = ""


def look_at_bands(read: Callable[[str], bytes], files: list[str], seed: int) -> Bands:
    """Choose the planes that most files of several planes can be read by.

    Parameters
    ----------
    read : callable
        Gives the bytes of a file; raises UnreadableImage.
    files : list of str
        Images, as the reader names them.
    seed : int
        Of the thirty files that are looked at.

    Returns
    -------
    Bands
    """
    order = np.random.default_rng(seed).permutation(len(files))[:_LOOKED_AT]
    found: list[tuple[Planes, bytes]] = []
    for i in sorted(order):
        try:
            data = read(files[i])
            found.append((read_planes(data), data))
        except UnreadableImage:
            continue
    several = [(planes, data) for planes, data in found if planes.n > 1 and not (planes.picture and planes.n in (3, 4))]
    caution = _one_file_a_band(files)
    if not several:
        return Bands(caution=caution)
    kinds = Counter((planes.n, planes.names) for planes, _ in several)
    (n, names), count = kinds.most_common(1)[0]
    bands, why = _choose(n, names)
    called = f"named {', '.join(names)}" if names else "without names"
    said = f"{count} of {len(found)} files looked at have {n} planes, {called}; {why}."
    settings: dict[str, Any] = {"bands": bands}
    if len(bands) == 3:
        of_kind = [data for planes, data in several if (planes.n, planes.names) == (n, names)]
        settings["colour"], how = _colour(bands, of_kind)
        said = f"{said} {how}"
    if n > len(bands):
        left = f"{n - len(bands)} of {n} planes of a file are not shown: see source.bands."
        caution = f"{caution} {left}".strip()
    return Bands(settings, said, caution)


def _choose(n: int, names: tuple[str, ...]) -> tuple[tuple[str | int, ...], str]:
    lower = [name.lower() for name in names]
    if all(lower.count(band) == 1 for band in GRZ):
        return tuple(names[lower.index(band)] for band in GRZ), "g, r, z are the image"
    if "Stokes I" in names:
        return ("Stokes I",), "the total intensity is the image"
    known = sorted((name for name in set(names) if is_band(name)), key=wavelength)
    if len(known) == len(names) > 2:
        return (known[0], known[len(known) // 2], known[-1]), "the bluest, the middle and the reddest are the image"
    if n == 3:
        return (1, 2, 3) if names else GRZ, "they are taken in their order, blue first" + (
            "" if names else ", as g, r, z"
        )
    if len(known) == len(names) == 2:
        return (known[1],), "the redder is the image"
    return (1,), "the first is the image"


def _colour(bands: tuple[str | int, ...], contents: list[bytes]) -> tuple[str, str]:
    """`lupton` where its colours show something of g, r, z; else `linear`."""
    if tuple(str(band).lower() for band in bands) != GRZ:
        return "linear", "Bands other than g, r, z stay linear, and cutout.stretch makes them colours."
    full, brightest = [], []
    for data in contents:
        try:
            image = decode(data, Source(reader="fits_folder", path=".", bands=bands, colour="lupton"))
        except UnreadableImage:
            continue
        full.append(float((np.ma.getdata(image).max(axis=2) >= _FULL).mean()))
        brightest.append(int(image.max()))
    if full and (np.median(full) > 0.3 or np.median(brightest) < _DARK):
        return "linear", (
            "Lupton's colours, made for nanomaggies per pixel, would show most of them at the highest level, or black; "
            "they stay linear, and cutout.stretch makes them colours."
        )
    return "lupton", "They become the colours of the Legacy Surveys (Lupton et al. 2004)."


def _one_file_a_band(files: list[str]) -> str:
    bands_of: dict[str, set[str]] = {}
    for file in files:
        *folders, name = without_suffix(file).split("/")
        if match := _BY_BAND.fullmatch(name):
            bands_of.setdefault(match[1], set()).add(match[2])
        elif folders and is_band(folders[-1]):
            bands_of.setdefault(name, set()).add(folders[-1])
    together = {name: bands for name, bands in bands_of.items() if len(bands) > 1}
    if sum(map(len, together.values())) <= len(files) / 2:
        return ""
    name = min(together)
    shown = ", ".join(sorted(together[name]))
    return (
        f"Files look like one band each of the same galaxies ({name}: {shown}): each is an image of its own here. Join "
        "the bands of a galaxy as extensions or planes of one file for colour, or deliver one band."
    )
