"""Whether a table gives as many rows as its file holds: readers pass over what a stray quote or a flipped bit hides.

Belongs here: counting rows in a file without the library that reads it. Does not belong here: reading them (`tables`).
"""

import io
from pathlib import Path
from typing import Any

from galaxy_assets.deliveries.decoding.compressed import unpacked
from galaxy_assets.settings.limits import MAXIMUM_ROWS, MAXIMUM_TABLE
from galaxy_assets.settings.regular import read_regular

_BLOCK = 2880  # bytes of FITS


def check_lines(path: Path, n: int, encoding: str = "utf-8-sig", names: int = 1) -> None:
    """Raise ValueError where a table of text without line breaks in its cells has more lines than rows were read.

    Parameters
    ----------
    path : Path
        The file.
    n : int
        Rows read.
    encoding : str
        Of the text.
    names : int
        Lines that are none: those of the columns' names.
    """
    with path.open(encoding=encoding, errors="replace") as stream:
        lines = [(i, '"' in line) for i, line in enumerate(stream, 1) if line.strip() and not line.startswith("#")]
    if len(lines) - names > n:
        quoted = next((i for i, quote in lines[names:] if quote), None)
        where = "" if quoted is None else f"; the first quote is in line {quoted}, perhaps it is not closed"
        raise ValueError(f"{len(lines) - names} lines give {n} rows{where}")


def check_fits(path: Path) -> None:
    """Raise ValueError where the first table of a FITS file is cut short, or is longer than its header says.

    Parameters
    ----------
    path : Path
        The file, may be compressed.
    """
    from astropy.io import fits

    data = unpacked(read_regular(path, MAXIMUM_TABLE))
    with fits.open(io.BytesIO(data), memmap=False) as hdus:
        for hdu in iter(hdus):
            if not isinstance(hdu, fits.BinTableHDU | fits.TableHDU):
                continue
            table: Any = hdu
            header, begin = table.header, table.fileinfo()["datLoc"]
            rows = int(header["NAXIS2"])
            end = begin + int(header["NAXIS1"]) * rows + int(header.get("PCOUNT", 0))
            check_rows(rows)
            if end > len(data):
                there = f"{end - begin} bytes, of which {len(data) - begin} are there"
                raise ValueError(f"its header has {rows} rows, {there}")
            after = -(-end // _BLOCK) * _BLOCK
            if data[end:after].strip(b"\0 ") or data[after : after + 8].strip(b"\0 ") not in (b"", b"XTENSION"):
                raise ValueError(f"it holds more than the {rows} rows that its header has")
            return


def check_rows(n: int) -> None:
    """Raise ValueError for more rows than a table may have."""
    if n > MAXIMUM_ROWS:
        raise ValueError(f"it has {n} rows; the largest table has {MAXIMUM_ROWS}")
