"""Suffixes of images, archives and tables: what is taken by name, and how an image is called without its own.

Belongs here: names alone. Does not belong here: what a file holds, which its content decides (`images`).
"""

from galaxy_assets.deliveries.delivery import Kind

IMAGES: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".avif", ".npy")
"""Of the images that `image_folder` takes."""

_PLAIN = (".fits", ".fit", ".fts")
_COMPRESSED = (".gz", ".bz2", ".xz", ".fz")

FITS: tuple[str, ...] = (*(plain + packed for packed in _COMPRESSED for plain in _PLAIN), *_PLAIN, ".fz")
"""Of the images that `fits_folder` takes, those of two parts first."""

ALL: tuple[str, ...] = tuple(sorted(FITS + IMAGES, key=lambda suffix: (-len(suffix), suffix)))
"""Of the images that a reader of folders takes, the longest first."""

FOREIGN: tuple[str, ...] = (
    *ALL,
    ".gif",
    ".bmp",
    ".jp2",
    ".j2k",
    ".jxl",
    ".heic",
    ".heif",
    ".jfif",
    ".ppm",
    ".pgm",
    ".asdf",
)
"""Of images that some reader or tool knows, worth a word where the survey's reader does not take them."""

TABLES = (".csv", ".tsv", ".dat", ".vot", ".ecsv", ".xlsx")
"""Of tables that may hold classes and hold no images."""

ARCHIVES: dict[str, Kind] = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar",
    ".tgz": "tar",
    ".tar.bz2": "tar",
    ".tar.xz": "tar",
    ".parquet": "parquet",
    ".npy": "npy",
    ".npz": "npz",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}
"""Of archives and containers of images, and which kind each is."""


def without_suffix(name: str) -> str:
    """A file's name without its suffix, if it is one of an image: one suffix, the longest that fits, in any case.

    Parameters
    ----------
    name : str
        Of a file, or as a table has it.

    Returns
    -------
    str
        The name itself where no known suffix ends it, or where nothing would be left.

    Examples
    --------
    >>> from galaxy_assets.deliveries.suffixes import without_suffix
    >>> [without_suffix(name) for name in ("a.fits.gz", "b.PNG", "c.fits.png", "J1234+56.78")]
    ['a', 'b', 'c.fits', 'J1234+56.78']
    """
    lower = name.lower()
    if not lower.endswith(_LONGEST_FIRST):
        return name
    suffix = next((one for one in _LONGEST_FIRST if lower.endswith(one) and len(lower) > len(one)), "")
    return name[: len(name) - len(suffix)]


_LONGEST_FIRST = tuple(sorted(FOREIGN, key=len, reverse=True))
