"""The objects of a bucket: written once, read whole, listed, and one kind replaced by compare-and-swap.

Belongs here: requests to the bucket, their repetition, and their errors in words. `obstore` speaks with it and comes
with the extra `galaxy-assets[cluster]`. Does not belong here: what the objects are (`heads`, `bucket`).
"""

import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote, urlsplit

from galaxy_assets.settings.printing import Unavailable, logger
from galaxy_assets.settings.root import normal_address
from galaxy_assets.storage.store import StoreError

log = logger(__name__)

_TRIES = 6
"""Of a request, on top of those that obstore makes of one that it may repeat."""
_FRESH = timedelta(days=1)
"""An object that is younger is not near the age at which `upkeep` may remove it."""
_PIECE = 16_000_000
"""Bytes of a file that are read at once to be sent or were received at once."""
_WHOLE = 64_000_000
"""Bytes up to which an object is sent in one request."""
_Answer = TypeVar("_Answer")


class BucketError(StoreError):
    """A request to a bucket that failed for good; the message names what failed and the remedy, and no credentials."""


class BucketAway(BucketError, Unavailable):
    """A bucket, or the database that holds its heads, that does not answer, or lets nobody in."""


class Changed(Exception):
    """An object is not any more the one that was to be replaced."""


class Missing(Exception):
    """There is no such object."""


class Shorter(Exception):
    """An object ends before the part that was asked for."""


class Listed(NamedTuple):
    """An object in a listing.

    Attributes
    ----------
    key : str
        Below the address.
    token : str
        Changes whenever the object is replaced.
    size : int
        Bytes.
    written : datetime
        When, by the bucket's clock.
    """

    key: str
    token: str
    size: int
    written: datetime


class Objects:
    """The objects below an address. Safe to use from several threads.

    Parameters
    ----------
    address : str
        Such as `s3://bucket/prefix`; what else is needed, credentials among it, is in the environment or with the
        machine's role.

    Raises
    ------
    BucketError
        Where the extra is not installed or the address is none.
    """

    def __init__(self, address: str):
        self.address = normal_address(address)
        try:
            import obstore
            from obstore.store import from_url
        except ImportError as error:
            raise BucketError(
                f"GALAXY_ASSETS_DATA is {address}, which needs the extra for clusters: pip install "
                "'galaxy-assets[cluster]', or name a folder of this machine"
            ) from error
        self._obstore, self._by_version = obstore, urlsplit(address).scheme == "gs"
        self._tags_are_md5 = True
        insecure = any(
            os.environ.get(name, "").startswith("http://") for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
        )
        again: Any = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}
        again["backoff"] = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2}
        options: Any = {"timeout": "300s"} | ({"allow_http": True} if insecure else {})
        try:
            self._store = from_url(self.address, client_options=options, retry_config=again)
        except Exception as error:
            raise BucketError(
                f"GALAXY_ASSETS_DATA is {address}, which is no bucket that can be used ({type(error).__name__}); "
                "it is s3://, gs:// or az://, with region and endpoint in the environment (docs/shared-storage.md)"
            ) from error

    def put_once(self, key: str, content: bytes | Path, is_distrusted: Callable[[str], bool] = lambda _: False) -> None:
        """Write an object whose key says what it holds, unless it is there, whole and new.

        It is that by the MD5 in its entity tag; by its size where the tags of the bucket have none, as at Azure, with
        keys of a key service, and of what was sent in pieces.

        Parameters
        ----------
        key : str
            Below the address.
        content : bytes or Path
            What it holds, or a file of that.
        is_distrusted : callable, optional
            Whether what is there under a key may be another content of that size.
        """
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        small = isinstance(content, bytes) or size <= _WHOLE
        data = content.read_bytes() if small and isinstance(content, Path) else content
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest() if isinstance(data, bytes) else ""
        there = self.stated(key)
        # an old one is written again: what no head names is removed by its age, and it is about to be named
        if there is not None and there.size == size and datetime.now(UTC) - there.written < _FRESH:
            tag = there.token.strip('"')
            tells = bool(md5) and self._tags_are_md5 and re.fullmatch("[0-9a-f]{32}", tag)
            if not is_distrusted(key) and (tag == md5 or not tells):
                return
        put = self._tried(
            f"write {key}",
            lambda: self._obstore.put(
                self._store, _quoted(key), data, use_multipart=not small, chunk_size=_PIECE, max_concurrency=4
            ),
        )
        if md5:
            self._tags_are_md5 = _token(put).strip('"') == md5

    def swap(self, key: str, content: bytes, seen: str | None, condition: Any = None) -> str:
        """Replace an object if it is still the one that was seen.

        Parameters
        ----------
        key : str
            Below the address.
        content : bytes
            Unlike that of any other writer.
        seen : str or None
            Token of the object as it was seen; None where there was none.
        condition : dict, optional
            That of `condition` for `seen`, where it was asked for earlier.

        Returns
        -------
        str
            Its token now.

        Raises
        ------
        Changed
            Where it is another.
        """
        errors = self._obstore.exceptions
        another = (Changed, errors.AlreadyExistsError, errors.PreconditionError)
        gone = (errors.NotFoundError, FileNotFoundError)

        def once() -> str:
            try:
                mode: Any = "create" if seen is None else condition or self.condition(key, seen)
                put = self._obstore.put(self._store, _quoted(key), content, mode=mode, use_multipart=False)
                return _token(put)
            except (*another, *gone):
                # the answer to an earlier try may have been lost: then the object is this one
                try:
                    now, token = self.get(key)
                except Missing:
                    raise Changed from None
                if now == content:
                    return token
                raise Changed from None

        return self._tried(f"replace {key}", once)

    def condition(self, key: str, seen: str) -> Any:
        """What lets the bucket replace the object of a token alone.

        Parameters
        ----------
        key : str
            Below the address.
        seen : str
            Token of the object as it was seen.

        Returns
        -------
        dict
            For `swap`.

        Raises
        ------
        Changed
            Where it is seen to be another already.
        """
        if not self._by_version:
            return {"e_tag": seen}
        try:
            now = self._tried(f"look at {key}", lambda: self._obstore.head(self._store, _quoted(key)), may_miss=True)
        except Missing:
            raise Changed from None
        if _token(now) != seen:
            raise Changed
        return {"version": now["version"]}

    def get(self, key: str) -> tuple[bytes, str]:
        """An object.

        Parameters
        ----------
        key : str
            Below the address.

        Returns
        -------
        content : bytes
        token : str

        Raises
        ------
        Missing
            Where there is none.
        """

        def once() -> tuple[bytes, str]:
            answer = self._obstore.get(self._store, _quoted(key))
            token = _token(answer.meta)
            return bytes(answer.bytes()), token

        return self._tried(f"read {key}", once, may_miss=True)

    def pieces(self, key: str, offset: int, size: int) -> Iterator[bytes]:
        """A part of an object, piece by piece.

        Parameters
        ----------
        key : str
            Below the address.
        offset, size : int
            Bytes to leave out, and bytes wanted.

        Yields
        ------
        bytes

        Raises
        ------
        Missing
            Where there is no such object.
        Shorter
            Where it ends before the part that is wanted.
        """

        def once(start: int, end: int) -> bytes:
            try:
                return bytes(self._obstore.get_range(self._store, _quoted(key), start=start, end=end))
            except self._obstore.exceptions.GenericError as error:
                # the error of "416 Range Not Satisfiable" has no class of its own
                if "416" in str(error) and self._obstore.head(self._store, _quoted(key))["size"] < end:
                    raise Shorter from None
                raise

        for start in range(offset, offset + size, _PIECE):
            end = min(start + _PIECE, offset + size)
            yield self._tried(f"read {key}", lambda start=start, end=end: once(start, end), may_miss=True)

    def stated(self, key: str) -> Listed | None:
        """What a listing would say of an object.

        Parameters
        ----------
        key : str
            Below the address.

        Returns
        -------
        Listed or None
            None where there is no such object.
        """
        try:
            meta = self._tried(f"look at {key}", lambda: self._obstore.head(self._store, _quoted(key)), may_miss=True)
        except Missing:
            return None
        return Listed(key, _token(meta), meta["size"], meta["last_modified"])

    def listed(self, prefix: str) -> list[Listed]:
        """The objects below a prefix.

        Parameters
        ----------
        prefix : str
            A folder below the address.

        Returns
        -------
        list of Listed
        """

        def once() -> list[Listed]:
            return [
                Listed(unquote(one["path"]), _token(one), one["size"], one["last_modified"])
                for page in self._obstore.list(self._store, _quoted(prefix), chunk_size=1000)
                for one in page
            ]

        return self._tried(f"list {prefix}", once)

    def any_below(self, prefix: str) -> bool:
        """Whether there is an object below a prefix.

        Parameters
        ----------
        prefix : str
            A folder below the address.

        Returns
        -------
        bool
        """

        def once() -> bool:
            return any(len(page) for page in self._obstore.list(self._store, _quoted(prefix), chunk_size=1))

        return self._tried(f"list {prefix}", once)

    def delete(self, keys: list[str]) -> None:
        """Remove objects, as far as they are there.

        Parameters
        ----------
        keys : list of str
            Below the address.
        """
        for start in range(0, len(keys), 1000):
            some = [_quoted(key) for key in keys[start : start + 1000]]
            self._tried("remove objects", lambda some=some: self._obstore.delete(self._store, some))

    def _tried(self, what: str, request: Callable[[], _Answer], *, may_miss: bool = False) -> _Answer:
        """The answer to a request; repeated where the connection or the bucket failed. Raises Missing, BucketError.

        Where nothing `may_miss`, what is missing is the bucket.
        """
        errors = self._obstore.exceptions
        for left in reversed(range(_TRIES)):
            try:
                return request()
            except (Changed, Missing, Shorter, BucketAway):
                raise
            except Exception as error:
                if may_miss and isinstance(error, errors.NotFoundError | FileNotFoundError):
                    raise Missing(what) from None
                refused = isinstance(error, errors.PermissionDeniedError | errors.UnauthenticatedError)
                if not left or refused:
                    raise BucketAway(f"cannot {what} in {self.address}: {_in_words(error, refused)}") from None
                log.info("%s in %s failed and is tried again: %s", what, self.address, _in_words(error, refused))
                time.sleep(random.uniform(0.5, 1.5) * 0.1 * 2 ** (_TRIES - left))
        raise AssertionError


def _token(meta: Any) -> str:
    """The entity tag, in quotes: not every bucket writes them in a listing, and not every one lists versions."""
    return f'"{str(meta["e_tag"]).strip(chr(34))}"'


def _in_words(error: Exception, refused: bool) -> str:
    """What went wrong, without the words of the server or the library, which may hold what signs a request."""
    if refused and "RequestTimeTooSkewed" in str(error):
        return "the clock of this machine differs from the bucket's by too much; set the clock (timedatectl, chrony)"
    if refused:
        return "it is refused; check the credentials in the environment, or the machine's role, and what they allow"
    status = re.search(r"\b[45]\d\d\b", str(error))
    said = f"answered {status[0]}" if status else f"{type(error).__name__}, no answer"
    return f"the bucket {said}; check its address and the endpoint and region in the environment, or try again later"


def _quoted(key: str) -> str:
    """A key in which every character stays what it is in all kinds of bucket."""
    return quote(key, safe="/")
