"""Which planes of a folder's files are the image, from a few of them.

Belongs here: FITS extensions, cubes, stacks of channels, and files of one band each. Does not belong here: the rules by
which a file is read (`deliveries.decoding.planes`).
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from galaxy_assets.deliveries.decoding.planes import GRZ, Planes, is_band, wavelength
from galaxy_assets.deliveries.images import UnreadableImage, decode, read_planes
from galaxy_assets.deliveries.suffixes import without_suffix
from galaxy_assets.settings.source import Source

_LOOKED_AT = 30  # files
_FULL, _DARK = 250, 40  # levels of 8 bits
# a band between separators, after the name of an instrument or not; of HST after anything
_INSTRUMENT = r"(?:HSC|SDSS|DES|DECam|PS1|KiDS|VST|LSST|Euclid|NISP|NIR|WISE|GALEX|VISTA|UKIDSS|MegaCam|band|filter)"
_BAND = re.compile(
    rf"(?:(?<![^._-])(?:(?P<of>{_INSTRUMENT})[._ -]?)?(?P<band>[ugrizy]|[UBVRIGZYJHK]|Ks|VIS|[FN]UV|W[1-4])"
    rf"(?:[._-]?band)?(?![^._-]))|(?P<hst>[fF]\d{{3,4}}[wWmMnN])"
)


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


class _Seen(NamedTuple):
    """A file that was looked at."""

    file: str
    planes: Planes
    data: bytes

    @property
    def kind(self) -> tuple[int, tuple[str, ...]]:
        return self.planes.n, self.planes.names

    def image(self, **chosen: Any) -> np.ndarray | None:
        """Its image with a choice of bands, or without; None where it is not read."""
        try:
            return decode(self.data, Source(reader="fits_folder", path=".", **chosen))
        except UnreadableImage:
            return None

    def is_picture(self) -> bool:
        """Whether its planes are read as a picture's channels where no bands are chosen."""
        if self.planes.picture:
            return self.planes.n == 3 or self.image() is not None
        if self.kind != (3, ()):
            return False
        shown, planes = self.image(), self.image(bands=(1, 2, 3), colour="linear")
        return shown is not None and planes is not None and np.array_equal(shown, planes[..., ::-1])

    def is_read_otherwise(self, chosen: dict[str, Any]) -> bool:
        """Whether it is read without a choice of bands, and not in the same way with it."""
        if (shown := self.image()) is None:
            return False
        then = self.image(**chosen)
        return then is None or not np.array_equal(np.ma.getdata(shown), np.ma.getdata(then), equal_nan=True)


def band_in(name: str) -> tuple[str, str] | None:
    """The band in the name of a file or of a folder.

    Parameters
    ----------
    name : str
        Without a suffix.

    Returns
    -------
    (str, str) or None
        What is left of the name, empty where it is the band's alone, and the band; None where there is none.

    Examples
    --------
    >>> from galaxy_assets.deliveries.onboarding.bands import band_in
    >>> band_in("g12_r"), band_in("2-cutout-HSC-I-9813-pdr3_wide"), band_in("NIR_Y"), band_in("merger")
    (('g12', 'r'), ('2-cutout-9813-pdr3_wide', 'I'), ('', 'Y'), None)
    """
    found = list(_BAND.finditer(name))
    if not found:
        return None
    one = next((match for match in found if match["of"]), found[-1])
    before, after = name[: one.start()].rstrip("._- "), name[one.end() :]
    return before + after if before else after.lstrip("._- "), one["band"] or one["hst"]


def look_at_bands(
    read: Callable[[str], bytes], files: list[str], seed: int, begun: tuple[str | int, ...] | None = None
) -> Bands:
    """Choose the planes that most files of several planes can be read by.

    Nothing is chosen where other files would not be read any more as they are without a choice, unless these are fewer
    than the files that are not read at all without one.

    Parameters
    ----------
    read : callable
        Gives the bytes of a file; raises UnreadableImage.
    files : list of str
        Images, as the reader names them.
    seed : int
        Of the thirty files that are looked at.
    begun : tuple of str or int, optional
        Bands by which the files were found: some are chosen in any case.

    Returns
    -------
    Bands
    """
    order = np.random.default_rng(seed).permutation(len(files))[:_LOOKED_AT]
    found: list[_Seen] = []
    for i in sorted(order):
        try:
            data = read(files[i])
            found.append(_Seen(files[i], read_planes(data), data))
        except UnreadableImage:
            continue
    several = [one for one in found if one.planes.n > 1 and not one.is_picture()]
    cautions = [_one_file_a_band(files)]
    if not several:
        settings = {} if begun is None else {"bands": begun}
        return Bands(settings, caution=_joined(cautions))
    (n, names), count = Counter(one.kind for one in several).most_common(1)[0]
    of_kind = [one for one in several if one.kind == (n, names)]
    bands, why = _choose(n, names)
    called = f"named {', '.join(names)}" if names else "without names"
    said = f"{count} of {len(found)} files looked at have {n} planes, {called}; {why}."
    settings: dict[str, Any] = {"bands": bands}
    if len(bands) == 3:
        settings["colour"], how = _colour(bands, of_kind)
        said = f"{said} {how}"
    otherwise = [one for one in found if one.kind != (n, names) and one.is_read_otherwise(settings)]
    if begun is None and otherwise and (count <= len(otherwise) or of_kind[0].image() is not None):
        return Bands(caution=_joined([*cautions, _odd(min(several, otherwise, key=len), found)]))
    if n > len(bands):
        cautions.append(f"{n - len(bands)} of {n} planes of a file are not shown: see source.bands.")
    if begun is not None:
        cautions.append(
            f".npy files of {n} planes are one image each, by source.bands: without it each is {n} images of its own."
        )
    if otherwise:
        cautions.append(f"source.bands is for most files and changes how others are read: {_listed(otherwise)}.")
    return Bands(settings, said, _joined(cautions))


def _joined(cautions: list[str]) -> str:
    return " ".join(filter(None, cautions))


def _odd(odd: list[_Seen], found: list[_Seen]) -> str:
    return (
        f"{len(odd)} of {len(found)} files looked at have other planes than most: {_listed(odd)}. source.bands holds "
        "for all files, so none is proposed: take them out, or make them a survey of their own."
    )


def _listed(files: list[_Seen]) -> str:
    shown = ", ".join(f"{one.file} ({one.planes.n})" for one in files[:5])
    return f"{shown}{', ...' if len(files) > 5 else ''}"


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


def _colour(bands: tuple[str | int, ...], files: list[_Seen]) -> tuple[str, str]:
    """`lupton` where its colours show something of g, r, z; else `linear`."""
    if tuple(str(band).lower() for band in bands) != GRZ:
        return "linear", "Bands other than g, r, z stay linear, and cutout.stretch makes them colours."
    full, brightest = [], []
    for one in files:
        if (image := one.image(bands=bands, colour="lupton")) is None:
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
    by_name: dict[str, set[str]] = {}
    by_folder: dict[str, set[str]] = {}
    for file in files:
        *folders, name = without_suffix(file).split("/")
        of_folders = [(folder, band_in(folder)) for folder in folders]
        home = [folder for folder, said in of_folders if said is None or said[0]]
        band = next((said[1] for _, said in reversed(of_folders) if said is not None and not said[0]), None)
        if (said := band_in(name)) is not None and (said[0] or home):
            name, band = said if said[0] else (home.pop(), said[1])
        elif band is None:
            continue
        by_name.setdefault(name, set()).add(band)
        by_folder.setdefault("/".join([*home, name]), set()).add(band)
    for bands_of in (by_name, by_folder):
        together = {name: bands for name, bands in bands_of.items() if len(bands) > 1}
        if 2 * sum(map(len, together.values())) > len(files):
            name = min(together)
            shown = ", ".join(sorted(together[name]))
            return (
                f"Files look like one band each of the same galaxies ({name}: {shown}): each is an image of its own "
                "here. Join the bands of a galaxy as extensions or planes of one file for colour, or deliver one band."
            )
    return ""
