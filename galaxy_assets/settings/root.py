"""Where the data folder is.

Belongs here: reading the environment for it. Does not belong here: what lies below it (`storage.layout`), buckets
(`storage.bucket.bucket`).
"""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from galaxy_assets.settings.printing import PrintableError

BUCKETS = ("s3", "gs", "az")
"""Kinds of bucket that a data folder may be."""


def data_root(told: Path | str | None = None) -> Path:
    """The data folder, which holds raw/, lake/ and surveys/.

    Parameters
    ----------
    told : Path or str, optional
        A folder, of which `~` is the home folder, or the address of a bucket; $GALAXY_ASSETS_DATA, else ./data, when
        not given.

    Returns
    -------
    Path
        Absolute, and perhaps not there yet. Where that is a bucket, such as
        `s3://bucket/prefix`, the folder of this machine's copies of it, below $GALAXY_ASSETS_CACHE.

    Raises
    ------
    PrintableError
        Where the folder's name is a pattern to DuckDB, or begins with the home folder of nobody; where the address of a
        bucket is none, or holds more than an address.
    """
    told = str(told if told is not None else os.environ.get("GALAXY_ASSETS_DATA", "data"))
    if "://" not in told:
        try:
            root = Path(told).expanduser().resolve()
        except RuntimeError as error:  # a container may run as a number that is nobody's
            raise PrintableError(
                f"{told}: there is no such user's home folder; write the data folder's whole path"
            ) from error
        if any(sign in str(root) for sign in "[]*?"):
            raise PrintableError(
                f"{root}: DuckDB reads [, ], * and ? in a folder's name as a pattern; rename the data folder, or name "
                "another one (GALAXY_ASSETS_DATA, or `root` in Python)"
            )
        return root
    address = urlsplit(told)
    if address.scheme not in BUCKETS or not address.netloc or "@" in address.netloc or address.query or ".." in told:
        raise PrintableError(
            "the address of the data folder (GALAXY_ASSETS_DATA, or `root` in Python) cannot be used; say a folder, or "
            "one of "
            f"{', '.join(f'{kind}://bucket/prefix' for kind in BUCKETS)}, and put credentials into the environment only"
        )
    return _cache().joinpath(address.scheme, address.netloc, *address.path.split("/"))


def _cache() -> Path:
    """Where copies of buckets are; by itself each machine's own, since a home folder may be one of many machines."""
    common = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "galaxy-assets", socket.gethostname())
    try:
        return Path(os.environ.get("GALAXY_ASSETS_CACHE") or common).expanduser().resolve()
    except RuntimeError as error:  # a container may run as a number that is nobody's
        raise PrintableError(
            "GALAXY_ASSETS_DATA is a bucket, and this user has no home folder for copies of it; set "
            "GALAXY_ASSETS_CACHE to a folder of this machine's disk"
        ) from error


def normal_address(address: str) -> str:
    """The one way to write the address of a bucket, whatever slashes somebody put into it.

    Parameters
    ----------
    address : str
        Such as `s3://bucket/prefix/`.

    Returns
    -------
    str
        Such as `s3://bucket/prefix`.
    """
    parts = urlsplit(address)
    return f"{parts.scheme}://{'/'.join([parts.netloc, *filter(None, parts.path.split('/'))])}"
