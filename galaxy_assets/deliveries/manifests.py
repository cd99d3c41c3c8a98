"""Manifests: the list of files that a delivery must have to be whole.

    file,bytes,sha256
    J004/J004544.11-005037.5.png,181204,9f86d081884c7d65...

Belongs here: reading such a list and comparing it with what is there. Does not belong here: where manifests lie and
what follows from them (`deliveries`).
"""

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from galaxy_assets.settings.limits import MAXIMUM_DIGITS, MAXIMUM_MANIFEST, MAXIMUM_MEMBERS
from galaxy_assets.settings.printing import PrintableError

NAME = "manifest.csv"

_SHOWN = 80  # characters of a cell in a message


class ManifestError(PrintableError):
    """A manifest that cannot be used; the message names it, the reason and the remedy."""


class Promise(NamedTuple):
    """What a manifest says of one file.

    Attributes
    ----------
    size : int or None
        Bytes.
    sha256, md5 : str or None
        Checksums in hexadecimal; None where the manifest has none.
    """

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    def broken_by(self, data: bytes) -> str | None:
        """Why `data` are not the content that was promised; None if they may be.

        Parameters
        ----------
        data : bytes
            The file's content.

        Returns
        -------
        str or None
        """
        for algorithm in ("sha256", "md5"):
            promised = getattr(self, algorithm)
            if promised and (found := hashlib.new(algorithm, data).hexdigest()) != promised:
                return f"its {algorithm} is {found} and not {promised} as the manifest has it; deliver it again"
        return None


def composed(name: str) -> str:
    """A name as manifests and labels are compared with files: archives made on a Mac decompose accents.

    Parameters
    ----------
    name : str
        Of a file.

    Returns
    -------
    str
    """
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True)
class Manifest:
    """The files that a delivery must have.

    Attributes
    ----------
    where : str
        Its name in messages.
    files : mapping of str to Promise
        By `composed` name relative to the delivery.
    """

    where: str
    files: Mapping[str, Promise]

    def flaw(self, sizes: Mapping[str, int]) -> str | None:
        """What is wrong with the files that are there; None if nothing is.

        Parameters
        ----------
        sizes : mapping of str to int
            Bytes, by name.

        Returns
        -------
        str or None
            The reason and the remedy.
        """
        there = {composed(name): size for name, size in sizes.items()}
        wrong = [n for n, said in self.files.items() if n not in there or said.size not in (None, there[n])]
        if not wrong:
            return None
        first, size = wrong[0], there.get(wrong[0])
        what = "is not there" if size is None else f"has {size} bytes and not {self.files[first].size}"
        counted = f"{len(wrong)} of {len(self.files)} files are missing or of another size"
        named = f"{self.where} names {first[:_SHOWN]}, which {what} ({counted})"
        return f"{named}; deliver the rest, or correct the manifest"


def read_manifest(data: bytes, where: str, home: str = "") -> Manifest:
    """Read a CSV in UTF-8 with a column `file`, and where it has them `bytes`, `sha256` and `md5`.

    Parameters
    ----------
    data : bytes
        The manifest's content.
    where : str
        Its name in messages.
    home : str
        What the names are relative to, in the delivery: "" or a folder with its final /.

    Returns
    -------
    Manifest

    Raises
    ------
    ManifestError
        Where it is no such CSV, or names what is no file of the delivery.
    """
    files: dict[str, Promise] = {}
    try:
        if len(data) > MAXIMUM_MANIFEST:
            raise ManifestError(f"{where} has {len(data)} bytes, more than {MAXIMUM_MANIFEST}; deliver in parts")
        table = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        if "file" not in (table.fieldnames or ()):
            raise ManifestError(f"{where} has no column `file`; add it, or rename what is no manifest")
        for row in table:
            line, said = f"{where}, line {table.line_num}", {key: (value or "") for key, value in row.items() if key}
            name = PurePosixPath(said["file"].strip())
            if not name.name or name.is_absolute() or ".." in name.parts:
                raise ManifestError(f"{line}: {str(name)[:_SHOWN]!r} is no file of the delivery; correct it")
            size, sha256, md5 = (said.get(key, "").strip().lower() or None for key in ("bytes", "sha256", "md5"))
            if size is not None and not (size.isdecimal() and len(size) <= MAXIMUM_DIGITS):
                raise ManifestError(f"{line}: {size[:_SHOWN]!r} is no number of bytes; correct it")
            if "\n" in said["file"].strip():
                raise ManifestError(f"{line}: a name with a line break; close the quote before it")
            if (key := composed(f"{home}{name}")) in files:
                raise ManifestError(f"{line}: {str(name)[:_SHOWN]!r} is named twice; keep one of them")
            for kind, value, n in (("sha256", sha256, 64), ("md5", md5, 32)):
                if value is not None and not re.fullmatch(f"[0-9a-f]{{{n}}}", value):
                    raise ManifestError(f"{line}: {value[:_SHOWN]!r} is no {kind}, of {n} digits of 0-9a-f; correct it")
            if len(files) >= MAXIMUM_MEMBERS:
                raise ManifestError(f"{where} names more than {MAXIMUM_MEMBERS:,} files; deliver in parts")
            files[key] = Promise(None if size is None else int(size), sha256, md5)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{where} is not a CSV in UTF-8 ({error}); save it as one") from error
    if not files:
        raise ManifestError(f"{where} names no file; complete it, or remove it")
    return Manifest(where, files)
