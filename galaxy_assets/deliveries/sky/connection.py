"""One connection to one service, used politely.

Belongs here: the pace of requests, waiting when a service asks for it, trying again, and the limits on an answer. Does
not belong here: what is asked for (`plan`), what an answer shows (`answers`).

httpx, because urllib opens a connection for every request.
"""

import logging
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from galaxy_assets.deliveries.download.offers import FetchError, is_loopback
from galaxy_assets.deliveries.download.progress import Pace
from galaxy_assets.deliveries.sky.answers import BadAnswer
from galaxy_assets.settings.printing import PrintableError, logger, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

log = logger(__name__)

_WORTH_TRYING_AGAIN = {408, 425, 429}  # and all from 500
_TOLD = 300  # letters of an error page
_TOLD_PAUSE = 5.0  # seconds from which a pause is told

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Manners(Pace):
    """How a service is asked; see `Pace` for what is not here.

    Parameters
    ----------
    attempts : int
        Requests for one position before it is given up.
    per_second : float
        Most requests in a second.
    longest : float
        Seconds for one answer from its first to its last byte; also the longest pause that is waited for.
    in_a_row : int
        Positions that fail one after the other before the service is left in peace.
    """

    attempts: int = 4
    per_second: float = 4.0
    longest: float = 120.0
    in_a_row: int = 10


class Failed(PrintableError):
    """A position that got no usable answer.

    Attributes
    ----------
    reason : str
        The last one.
    tries : int
        Requests made.
    """

    def __init__(self, reason: str, tries: int):
        super().__init__(reason)
        self.reason, self.tries = reason, tries


class _Refused(Exception):
    """An answer that another request would not change."""


class _Later(Exception):
    """An answer worth another request, after `seconds` if the service says so."""

    def __init__(self, reason: str, seconds: float = 0.0):
        super().__init__(reason)
        self.seconds = seconds


class Connection:
    """A connection that is kept open; a context manager.

    Parameters
    ----------
    address : str
        Of the service.
    manners : Manners
        How it is asked.
    """

    def __init__(self, address: str, manners: Manners):
        import httpx

        self._manners, self._next = manners, 0.0
        agent = f"galaxy-assets/{version('galaxy-assets')} (cutouts for a catalogue of positions)"
        self._client = httpx.Client(
            # an encoded body could be larger than what it was read for
            headers={"User-Agent": agent, "Accept-Encoding": "identity"},
            timeout=manners.timeout,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=60),
            trust_env=not is_loopback(address),  # proxies are for the world outside
        )

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def ask(self, url: str, limit: int, read: Callable[[bytes], Answer]) -> tuple[Answer, int]:
        """Fetch an address, in as many requests as it takes.

        Parameters
        ----------
        url : str
            The address.
        limit : int
            Most bytes of an answer.
        read : callable
            What is made of the bytes; raises BadAnswer where they are not what was asked for.

        Returns
        -------
        answer : Any
            What `read` returned.
        tries : int
            Requests made.

        Raises
        ------
        Failed
            Where there is no usable answer.
        FetchError
            Where the service asks for a longer pause than is waited for.
        """
        for tries in range(1, self._manners.attempts + 1):
            try:
                return read(self._once(url, limit)), tries
            except _Refused as error:
                raise Failed(str(error), tries) from error
            except (_Later, BadAnswer) as error:
                asked = error.seconds if isinstance(error, _Later) else 0.0
                if asked > self._manners.longest:
                    raise FetchError(
                        f"{url.partition('?')[0]}: the service asks to come back in {asked:.0f} s; the same command "
                        "goes on from here"
                    ) from error
                if tries == self._manners.attempts:
                    raise Failed(str(error), tries) from error
                seconds = min(max(self._manners.pause * 2 ** (tries - 1), asked), self._manners.longest)
                log.log(logging.INFO if seconds >= _TOLD_PAUSE else logging.DEBUG, "%s; waiting %.0f s", error, seconds)
                time.sleep(seconds)
        raise AssertionError("a last attempt returns or raises")

    def _once(self, url: str, limit: int) -> bytes:
        time.sleep(max(0.0, self._next - time.monotonic()))
        begun = time.monotonic()
        self._next = begun + 1 / self._manners.per_second
        with _broken_is_later(), self._client.stream("GET", url) as answer:
            if 300 <= answer.status_code < 400:
                to = printable(answer.headers.get("Location", "nowhere"))[:200]
                raise _Refused(f"the service redirects to {to}, which is not followed")
            if answer.status_code != 200:
                raise _not_an_image(answer, self._body(answer, _TOLD, begun))
            if (encoding := answer.headers.get("Content-Encoding", "identity")) != "identity":
                raise _Refused(f"the answer is encoded ({printable(encoding)[:40]}), which was not asked for")
            data = self._body(answer, limit, begun)
            if len(data) > limit:
                raise _Refused(f"the answer is larger than the {limit:,} bytes that such an image can have")
            return data

    def _body(self, answer: "httpx.Response", limit: int, begun: float) -> bytes:
        """The body as far as the first part that exceeds the limit."""
        data = bytearray()
        for part in answer.iter_raw():
            data += part
            if len(data) > limit:
                break
            if time.monotonic() - begun > self._manners.longest:
                raise _Later(f"the answer took more than {self._manners.longest:.0f} s")
        return bytes(data)


@contextmanager
def _broken_is_later() -> "Iterator[None]":
    import httpx

    try:
        yield
    except httpx.HTTPError as error:
        raise _Later(f"no whole answer: {str(error) or type(error).__name__}") from error


def _not_an_image(answer: "httpx.Response", body: bytes) -> Exception:
    """What to raise for an answer whose status is not 200."""
    status, said = answer.status_code, printable(body[:_TOLD].decode("utf-8", "replace").strip())
    reason = f"the service answers {status} {printable(answer.reason_phrase)}{': ' if said else ''}{said}"
    if status in _WORTH_TRYING_AGAIN or status >= 500:
        return _Later(reason, _seconds(answer.headers.get("Retry-After", "")))
    return _Refused(reason)


def _seconds(after: str) -> float:
    """Seconds of a Retry-After, which is a number or a date; 0 for neither."""
    if after.strip().isdecimal():
        return float(after)
    try:
        return max(0.0, (parsedate_to_datetime(after) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):  # a date without a time zone, none, or one of no calendar
        return 0.0
