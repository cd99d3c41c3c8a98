"""What can be fetched: the files named in `downloads.yaml`.

Belongs here: what is said of a file before it is fetched. Does not belong here: what is known of one that is there
(`records`).
"""

import urllib.parse
from pathlib import Path, PurePosixPath

import yaml
from pydantic import Field, TypeAdapter, field_validator

from galaxy_assets.settings.base import Settings

TABLE = Path(__file__).with_name("downloads.yaml")


class FetchError(Exception):
    """A download that cannot be completed; the message names the file, the reason and the remedy."""


def is_loopback(url: str) -> bool:
    """Whether an address is within this machine."""
    return urllib.parse.urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


def is_https(url: str) -> bool:
    """Whether an address is encrypted."""
    return urllib.parse.urlsplit(url).scheme == "https"


class Download(Settings):
    """One file that can be fetched."""

    target: str = Field(description="where it goes, relative to the data folder")
    url: str = Field(description="https; http within this machine only")
    page: str = Field(description="where a person reads about it")
    size: int | None = Field(default=None, gt=0, description="bytes, rounded; decides nothing but the space it takes")
    md5: str | None = Field(default=None, pattern="^[0-9a-f]{32}$")
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{8,64}$", description="whole, or the beginning that its authors publish"
    )
    second_hand: str | None = Field(
        default=None, description="where the checksum comes from, if not from the publisher"
    )
    unpack: str | None = Field(
        default=None, description="of a zip: pattern of the members to unpack, below a folder with the zip's name"
    )

    @field_validator("target")
    @classmethod
    def _inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or not path.name or path.name.startswith("."):
            raise ValueError(f"target {value!r} is no file below the data folder")
        return value

    @field_validator("url")
    @classmethod
    def _encrypted(cls, value: str) -> str:
        if not is_https(value) and not (is_loopback(value) and value.startswith("http:")):
            raise ValueError(f"url {value!r} is not https")
        return value


def load_downloads(path: Path | None = None) -> dict[str, tuple[Download, ...]]:
    """What can be fetched, by the names that `galaxy-assets fetch` takes.

    Parameters
    ----------
    path : Path, optional
        The table; the shipped one when not given.

    Returns
    -------
    dict of str to tuple of Download
    """
    table = yaml.safe_load((path or TABLE).read_text(encoding="utf-8"))
    return TypeAdapter(dict[str, tuple[Download, ...]]).validate_python(table)
