"""Tables and images to TOPCAT, Aladin, DS9 and others on this machine, by SAMP, the messages between the VO's programs.

A hub passes the messages on; TOPCAT and Aladin bring one. It is found by its lock file (`~/.samp`, or $SAMP_HUB), and
must be on this machine. What is sent is a file of a private folder below the system's temporary one, named by a file
URL; files older than a day are removed when the next one is sent. Nothing is received: this client listens at no port.

Belongs here: the hub, the messages and the folder. Does not belong here: which rows are sent (`export`), the formats
(`formats`), the command.
"""

import ipaddress
import os
import re
import shutil
import socket
import stat
import tempfile
import time
import uuid
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlparse

import pyarrow as pa

from galaxy_assets.lake.formats import write_as
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.settings.regular import read_regular

if TYPE_CHECKING:
    from astropy.samp import SAMPHubProxy

_LOCK_SIZE = 65_536
_DAY = 86_400.0
_ERRORS = (OSError, xmlrpc.client.Error)


class SampError(PrintableError):
    """No hub, no receiver, or a hub that is not to be used; the message says the remedy."""


class Answer(NamedTuple):
    """What a receiver said.

    Attributes
    ----------
    name : str
        Of the receiver, as it calls itself.
    problem : str
        Empty where it loaded what was sent.
    """

    name: str
    problem: str


def send_table(table: pa.Table, name: str, *, to: str | None = None, seconds: int = 60) -> list[Answer]:
    """Send a table to every program that loads tables, or to one.

    Parameters
    ----------
    table : pyarrow.Table
        It is sent as VOTable, with what its fields say.
    name : str
        As the receivers show it.
    to : str, optional
        Part of the name of one receiver, such as `topcat`.
    seconds : int
        How long a receiver may take to load it.

    Returns
    -------
    list of Answer
        One for each receiver.

    Raises
    ------
    SampError
        Where no hub runs, or no program that loads tables is connected to it.
    ValueError
        For a text that a VOTable cannot hold.
    """
    return _send(
        "table", "table.load.votable", name, ".vot", lambda path: write_as(table, path, "votable", name), to, seconds
    )


def send_image(write: Callable[[Path], Any], name: str, *, to: str | None = None, seconds: int = 60) -> list[Answer]:
    """Send a FITS image to every program that loads images, or to one.

    Parameters
    ----------
    write : callable
        Writes the file at the path that it is given.
    name : str
        As the receivers show it.
    to : str, optional
        Part of the name of one receiver, such as `ds9`.
    seconds : int
        How long a receiver may take to load it.

    Returns
    -------
    list of Answer

    Raises
    ------
    SampError
        Where no hub runs, or no program that loads images is connected to it.
    """
    return _send("image", "image.load.fits", name, ".fits", write, to, seconds)


def _send(
    kind: str, mtype: str, name: str, suffix: str, write: Callable[[Path], Any], to: str | None, seconds: int
) -> list[Answer]:
    with _connected() as (hub, key):
        receivers = _receivers(hub, key, mtype)
        chosen = {i: who for i, who in receivers.items() if to is None or to.lower() in who.lower()}
        if not chosen:
            there = ", ".join(sorted(receivers.values()))
            raise SampError(
                f"no program {to} that loads a {kind} is connected; there are {there}" if there else
                f"no program that loads a {kind} is connected to the SAMP hub; start one, or connect it to the hub"
            )  # fmt: skip
        path = _private_folder() / f"{uuid.uuid4().hex}{suffix}"
        write(path)
        params = {"url": path.as_uri(), f"{kind}-id": path.stem, "name": name}
        message = {"samp.mtype": mtype, "samp.params": params}
        return [Answer(who, _problem(hub, key, receiver, message, seconds)) for receiver, who in chosen.items()]


def _problem(hub: "SAMPHubProxy", key: str, receiver: str, message: dict[str, Any], seconds: int) -> str:
    """What went wrong at a receiver; empty where it loaded the file."""
    try:
        answer = hub.call_and_wait(key, receiver, message, str(seconds))
    except _ERRORS as error:
        return f"no answer within {seconds} s" if "imeout" in str(error) else str(error)
    if answer.get("samp.status") == "samp.error":
        return str(answer.get("samp.error", {}).get("samp.errortxt") or "it could not load it")
    return ""


def _receivers(hub: "SAMPHubProxy", key: str, mtype: str) -> dict[str, str]:
    """Id -> name of the programs that take such messages."""
    found = list(hub.get_subscribed_clients(key, mtype))
    return {one: str(hub.get_metadata(key, one).get("samp.name") or one) for one in found}


@contextmanager
def _connected() -> Iterator[tuple["SAMPHubProxy", str]]:
    """A registered client that only sends, and its private key."""
    from astropy.samp import SAMPHubError, SAMPHubProxy

    # astropy's client also listens, asks the internet for this machine's name and answers with variables of the
    # environment; its proxy of the hub does none of that
    known, hub = _hub(), SAMPHubProxy()
    try:
        hub.connect(hub_params=known)
        key = hub.register(known["samp.secret"])["samp.private-key"]
    except (*_ERRORS, SAMPHubError) as error:
        raise SampError(f"the SAMP hub that {_lock_file()} names does not answer ({error}); {_START}") from error
    try:
        about = {"samp.name": "galaxy-assets", "samp.description.text": "galaxies found without labels"}
        hub.declare_metadata(key, about)
        yield hub, key
    except xmlrpc.client.Error as error:
        raise SampError(f"the SAMP hub refused: {error}") from error
    finally:
        try:
            hub.unregister(key)
            hub.disconnect()
        except _ERRORS:
            pass  # it is gone, and the registration with it


_START = "start TOPCAT or Aladin, which bring a hub, or `samp_hub`, which comes with astropy"


def _hub() -> dict[str, str]:
    """What the hub's lock file says of it. Raises SampError where there is none, or it is not on this machine."""
    path = _lock_file()
    try:
        lines = read_regular(path, _LOCK_SIZE).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        raise SampError(f"no SAMP hub runs (there is no {path}); {_START}") from None
    except (OSError, ValueError) as error:
        raise SampError(f"{path}: the lock file of the SAMP hub cannot be read: {error}") from error
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    known = {key.strip(): value.strip() for key, _, value in pairs}
    address = known.get("samp.hub.xmlrpc.url", "").replace("\\", "")
    host = urlparse(address).hostname
    if "samp.secret" not in known or host is None:
        raise SampError(f"{path} is no lock file of a SAMP hub; remove it, and {_START}")
    if not _is_this_machine(host):
        raise SampError(f"{path} names a SAMP hub on {host}; files are sent by their path, to this machine alone")
    return known


def _is_this_machine(host: str) -> bool:
    """Whether a hub's address is loopback, or this machine's own name, which some hubs write."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in ("localhost", socket.gethostname().lower(), socket.getfqdn().lower())


def _lock_file() -> Path:
    """Where the hub says where it is: $SAMP_HUB by the standard profile, else ~/.samp."""
    named = os.environ.get("SAMP_HUB")
    if not named:
        return Path.home() / ".samp"
    if (match := re.fullmatch(r"std-lockurl:file:(?://(?:localhost)?)?(/[^/].*)", named)) is None:
        raise SampError("SAMP_HUB names no lock file of this machine; write std-lockurl:file:///PATH, or unset it")
    return Path(unquote(match[1]))


def _private_folder() -> Path:
    """A folder for files that are sent, which only this user can read; what is old is removed."""
    folder = Path(tempfile.gettempdir()) / f"galaxy_assets_samp_{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise SampError(f"{folder} is not a folder of yours that others cannot read; remove it")
    for old in folder.iterdir():
        if time.time() - old.lstat().st_mtime > _DAY:
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink(missing_ok=True)
    return folder
