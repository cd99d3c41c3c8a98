"""Which format a table's file has: by its first bytes, or else by its suffix.

Belongs here: names and first bytes. Does not belong here: reading the table (`tables`).
"""

import lzma
import re
import zlib
from pathlib import Path

from galaxy_assets.deliveries.decoding.compressed import opener_of
from galaxy_assets.settings.regular import open_regular

_KNOWN = {
    ".parquet": "parquet",
    ".fits": "fits",
    ".fit": "fits",
    ".fts": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".ecsv": "ascii.ecsv",
    ".tbl": "ascii.ipac",
    ".mrt": "ascii.mrt",
}
_PACKED = re.compile(r"\.(gz|bz2|xz)$")
_BEGIN = 2**14  # bytes that say what a file is
_BEGINS = {b"PAR1": "parquet", b"SIMPLE  =": "fits", b"# %ECSV": "ascii.ecsv"}
_INSIDE = {b"<VOTABLE": "votable", b"Byte-by-byte Description of file": "ascii.mrt"}
SUFFIXES = (*_KNOWN, *(form + packed for form in _KNOWN for packed in (".gz", ".bz2", ".xz")))
"""Of tables that are no text with a separator."""


def form_of(path: Path) -> tuple[str, bool]:
    """What a table's file is, by its first bytes where these say it, else by its suffix.

    Parameters
    ----------
    path : Path
        A file.

    Returns
    -------
    form : str
        `text`, `parquet` or what astropy calls it.
    is_packed : bool
        Whether it is compressed.

    Raises
    ------
    OSError
        Where it cannot be opened.
    """
    with open_regular(path) as file:
        opener = opener_of(file.read(6))
        file.seek(0)
        try:
            begin = (opener(file, "rb") if opener else file).read(_BEGIN)
        except (OSError, EOFError, zlib.error, lzma.LZMAError):  # damaged, as its reader will say
            begin = b""
    said = [form for magic, form in _BEGINS.items() if begin.startswith(magic)]
    said += [form for words, form in _INSIDE.items() if words in begin]
    name = _PACKED.sub("", path.name.lower())
    said += [_KNOWN[suffix] for suffix in _KNOWN if name.endswith(suffix)]
    return (said or ["text"])[0], opener is not None
