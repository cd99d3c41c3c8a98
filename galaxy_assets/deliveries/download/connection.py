"""Connections to servers: https, or http within this machine.

Belongs here: opening an address, and what can go wrong with it. Does not belong here: what is done with the bytes
(`transfer`).
"""

import http.client
import urllib.error
import urllib.request
from email.message import Message
from typing import Any

from galaxy_assets.deliveries.download.offers import FetchError, is_https, is_loopback
from galaxy_assets.settings.printing import logger

log = logger(__name__)

# what a connection may fail of; URLError and TimeoutError are OSErrors, an address that is none a ValueError
BROKEN = (OSError, http.client.HTTPException, ValueError)
_DIGITS = 20  # of a length that is taken for one; no disk holds what has more


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not is_https(newurl) and not (is_loopback(newurl) and is_loopback(req.full_url)):
            raise FetchError(f"{req.full_url}: redirects to {newurl}, which is not https; download it by hand")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def opener() -> urllib.request.OpenerDirector:
    """An opener of addresses that follows redirects to https alone.

    Returns
    -------
    urllib.request.OpenerDirector
    """
    return urllib.request.build_opener(_SafeRedirects)


def length_of(headers: Message) -> int | None:
    """How many bytes an answer has by its own words, None where it says no number.

    Parameters
    ----------
    headers : email.message.Message
        Of the answer.

    Returns
    -------
    int or None
    """
    said = headers.get("Content-Length", "").strip()
    return int(said) if said.isascii() and said.isdecimal() and len(said) < _DIGITS else None


def why(error: BaseException) -> str:
    """The reason of a failed connection, in words.

    Parameters
    ----------
    error : BaseException
        What was raised.

    Returns
    -------
    str
    """
    wrapped = isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError)
    return str(error.reason if wrapped else error)
