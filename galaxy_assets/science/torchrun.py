"""The processes that torchrun started on several hosts: which of them this one is, and what they tell each other.

Belongs here: torchrun's environment variables, the store through which its processes find each other, the invitation
to a training, and what is known of a process that failed. Does not belong here: the process group and the shares of a
batch (`distributed`), what is computed, and reading the data folder. It is loaded without torch.

Nothing that comes through the store is unpickled: invitations are JSON.
"""

import functools
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from galaxy_assets.settings.printing import PrintableError, logger

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

log = logger(__name__)

PATIENCE = timedelta(minutes=30)
"""How long processes wait for each other: the others for the first one while it writes an epoch and measures it."""
_LAST_WORDS = 5.0  # seconds in which a process says why it failed
_LOOK_AGAIN = 0.2  # seconds


class PartnerLost(PrintableError, RuntimeError):
    """Another process of this training failed, or is gone."""


@dataclass(frozen=True)
class Place:
    """Which of torchrun's processes this one is.

    Attributes
    ----------
    rank : int
        Number of the process, from 0. The first one writes and reports.
    processes : int
        How many there are on all hosts.
    local_rank, local_processes : int
        The same on this host.
    address : str
        Where the first process or torchrun's agent listens.
    port : int
    """

    rank: int
    processes: int
    local_rank: int
    local_processes: int
    address: str
    port: int


def place() -> Place | None:
    """Which of the processes that torchrun started this one is, from RANK, WORLD_SIZE, MASTER_ADDR and so on.

    Returns
    -------
    Place or None
        None where there is one process alone.

    Raises
    ------
    PrintableError
        Where the variables contradict each other or some of them are missing.
    """
    told = os.environ
    if told.get("WORLD_SIZE", "") in ("", "1"):
        return None
    try:
        rank, processes, port = (int(told[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
        local_rank = int(told.get("LOCAL_RANK") or 0)
        found = Place(rank, processes, local_rank, int(told.get("LOCAL_WORLD_SIZE") or 1), told["MASTER_ADDR"], port)
    except (KeyError, ValueError) as error:
        raise PrintableError(
            f"WORLD_SIZE is {told.get('WORLD_SIZE')!r}, so this is one of several processes, but the environment does "
            f"not say which ({error}); start it by torchrun, set RANK, MASTER_ADDR and MASTER_PORT, or unset WORLD_SIZE"
        ) from error
    if not 0 <= rank < processes:
        raise PrintableError(f"RANK {rank} is not below WORLD_SIZE {processes}")
    return found


@functools.cache
def connect() -> "Store":
    """The store of all processes, kept as long as this one lives. Without torchrun's agent the first process holds it.

    Returns
    -------
    torch.distributed.Store

    Raises
    ------
    PartnerLost
        Where it is not to be reached.
    """
    from torch.distributed.rendezvous import rendezvous

    try:
        return next(rendezvous("env://", timeout=PATIENCE))[0]
    except RuntimeError as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise PartnerLost(f"nothing to meet the other processes by at {where} ({_first_line(error)})") from error


def _under(prefix: str) -> "Store":
    from torch.distributed.distributed_c10d import PrefixStore

    return PrefixStore(f"galaxy_assets/{prefix}", connect())


# The first process invites, the others come


def invite(told: dict[str, Any]) -> None:
    """Ask the other processes to take part in a training; called by the first process.

    Parameters
    ----------
    told : dict
        What they need to know of it, values that JSON can hold.
    """
    _tell(json.dumps(told))


def dismiss(place: Place) -> None:
    """Let the other processes end: there is nothing more to train. Called by the first process.

    Parameters
    ----------
    place : Place
        Its own.
    """
    try:
        _tell("null")
        if _gone is None:
            _wait_until_read(_under("invitations"), "dismissed", place)
    except RuntimeError as error:
        log.warning("the other processes could not be told to end: %s", _first_line(error))


def _tell(text: str) -> None:
    store = _under("invitations")
    number = store.add("sent", 1) - 1
    _begin(number)
    store.set(str(number), text)


def _wait_until_read(store: "Store", what: str, place: Place) -> None:
    """Let the first process, which may hold the store, not end before the others have read in it."""
    store.set(f"{what}_read_{place.rank}", "")
    until = time.monotonic() + _LAST_WORDS
    while not place.rank and time.monotonic() < until and _missing(store, f"{what}_read", place):
        time.sleep(_LOOK_AGAIN)


def _missing(store: "Store", what: str, place: Place) -> list[int]:
    return [rank for rank in range(place.processes) if not store.check([f"{what}_{rank}"])]


def invitations(place: Place) -> Iterator[dict[str, Any]]:
    """What the first process asks for, one after the other, until it dismisses; waits as long as that takes.

    Parameters
    ----------
    place : Place
        This process's.

    Yields
    ------
    dict

    Raises
    ------
    PartnerLost
        Where the first process is gone.
    """
    number = 0
    while True:
        store = _under("invitations")
        try:
            while not store.check([str(number)]):
                time.sleep(_LOOK_AGAIN)
            told = json.loads(store.get(str(number)))
            if told is None:
                _wait_until_read(store, "dismissed", place)
                return
        except RuntimeError as error:
            raise PartnerLost(f"the first process is gone ({_first_line(error)})") from error
        _begin(number)
        yield told
        number += 1


# One training


_invited = -1  # the last invitation, which meetings are counted from
_meetings = 0
_gone: str | None = None


def _begin(number: int) -> None:
    global _invited, _meetings
    _invited, _meetings = number, 0


def withdraw(place: Place, error: Exception) -> None:
    """Tell the others that this process does not come to the training that it was asked to, or to any more of it.

    Parameters
    ----------
    place : Place
        Its own.
    error : Exception
        Why.
    """
    if not isinstance(error, PartnerLost):
        Meeting.next(place).failed(error)


def gone() -> str | None:
    """What is known of processes that are gone for good; None where all are there as far as is known.

    Returns
    -------
    str or None
    """
    return _gone


@dataclass(frozen=True)
class Meeting:
    """All processes in one training, each attempt a new one.

    Attributes
    ----------
    place : Place
    store : torch.distributed.Store
        For this meeting alone.
    """

    place: Place
    store: "Store" = field(repr=False)

    @classmethod
    def next(cls, place: Place) -> "Meeting":
        """The meeting after the last one of this invitation. Every process counts for itself: all come to each.

        Raises
        ------
        PartnerLost
            Where a process is known to be gone.
        """
        global _meetings
        if _gone is not None:
            raise PartnerLost(_gone)
        _meetings += 1
        return cls(place, _under(f"invitation_{_invited}/meeting_{_meetings}"))

    def wait_for_all(self, where: str) -> None:
        """Wait until every process has called this with the same word.

        Parameters
        ----------
        where : str

        Raises
        ------
        PartnerLost
            Where one says that it failed, or does not come in time.
        """
        self.store.set(f"{where}_{self.place.rank}", "")
        until = time.monotonic() + PATIENCE.total_seconds()
        while missing := _missing(self.store, where, self.place):
            if words := self._failed():
                raise PartnerLost(words)
            if time.monotonic() > until:
                raise self._lost(missing, f"did not come within {PATIENCE}")
            time.sleep(_LOOK_AGAIN)
        _wait_until_read(self.store, where, self.place)

    def failed(self, error: BaseException) -> BaseException:
        """Tell the others of an error, or find out which process caused it.

        Parameters
        ----------
        error : BaseException
            What this process met: its own failure, or a connection that broke off because another one failed.

        Returns
        -------
        BaseException
            PartnerLost where another process is the cause, else `error`.
        """
        if isinstance(error, PartnerLost):
            return error
        try:
            # a broken connection is a RuntimeError, and so is a full memory: whoever speaks first is the cause
            if isinstance(error, RuntimeError) and _is_of_a_connection(error):
                return self._cause(error)
            own = f"process {self.place.rank} of {self.place.processes} on {socket.gethostname()} failed: "
            self.store.compare_set("failed", "", f"{own}{type(error).__name__}: {error}")
            self.store.set(f"left_{self.place.rank}", "")
            _wait_until_read(self.store, "failed", self.place)
        except RuntimeError as broken:
            log.warning("the other processes could not be told: %s", _first_line(broken))
        return error

    def _cause(self, error: RuntimeError) -> PartnerLost:
        """Which process broke the connection: one that says so, else those that say nothing any more."""
        try:
            self.store.set(f"left_{self.place.rank}", "")
            until = time.monotonic() + _LAST_WORDS
            while time.monotonic() < until:
                if words := self._failed():
                    return PartnerLost(words)
                time.sleep(_LOOK_AGAIN)
            missing = _missing(self.store, "left", self.place)
        except RuntimeError:
            missing = [0]
        return self._lost(missing, f"is gone, killed or cut off ({_first_line(error)})")

    def _lost(self, missing: list[int], why: str) -> PartnerLost:
        global _gone
        which = ", ".join(map(str, missing)) or "another"
        _gone = (
            f"process {which} of {self.place.processes} {why}; start all again: training goes on after its last whole "
            "epoch"
        )
        return PartnerLost(_gone)

    def _failed(self) -> str:
        """What a process says of its failure; empty where none has failed."""
        if not self.store.check(["failed"]):
            return ""
        words = self.store.get("failed").decode()
        _wait_until_read(self.store, "failed", self.place)
        return words


def _is_of_a_connection(error: RuntimeError) -> bool:
    """Whether an error says that another process does not answer, in the words of gloo, NCCL or torch's store."""
    from torch.distributed import DistError

    words = ("closed by peer", "reset by peer", "Broken pipe", "Connection", "connection", "timed out", "Timed out")
    return isinstance(error, DistError) or any(word in str(error) for word in words)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def interface(place: Place) -> str | None:
    """Name of the network interface by which this host reaches the first one.

    Parameters
    ----------
    place : Place

    Returns
    -------
    str or None
        None where it cannot be told, or is the loopback of a host that is not alone.
    """
    import psutil

    family = socket.getaddrinfo(place.address, place.port, type=socket.SOCK_DGRAM)[0][0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:  # sends nothing
        try:
            probe.connect((place.address, place.port))
        except OSError:
            return None
        own = probe.getsockname()[0]
    names = [name for name, found in psutil.net_if_addrs().items() if own in {one.address for one in found}]
    local = own.startswith("127.") or own == "::1"
    return None if not names or (local and place.local_processes < place.processes) else names[0]
