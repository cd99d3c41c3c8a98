"""What the run launchers of Dagster have in common when one is away for a while, or a worker is gone.

Belongs here: handing a run to a launcher that may start anew meanwhile, and asking it for a run's worker. Does not
belong here: which runs there are, and what becomes of one that is lost (`launched`).
"""

import errno
import re
import socket
import threading
import time
from collections.abc import Iterator

import dagster as dg
from dagster._core.launcher import LaunchRunContext, WorkerStatus

from galaxy_assets.orchestration.engines.stopping import NoRecords, patiently, records_are_away
from galaxy_assets.settings.printing import PrintableError, logger
from galaxy_assets.storage.owners import SILENT

log = logger(__name__)

_AGAIN = 2.0  # seconds between tries
_WORDS = 200  # characters of what a launcher says, from its beginning and from its end
_NO_WAY = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN}
_NO_ANSWER = {
    *(f"requests.exceptions.{name}" for name in ("ConnectionError", "Timeout")),
    *(f"urllib3.exceptions.{name}" for name in ("NewConnectionError", "ProtocolError", "TimeoutError")),
}
_NOT_TRUSTED = "requests.exceptions.SSLError"  # `requests` counts it to its errors of connection
_STATUS = re.compile(r"status code (\d{3})\b")


class NoLauncher(PrintableError):
    """A launcher could not be reached too long."""


def hand_over(instance: dg.DagsterInstance, run: dg.DagsterRun, stopped: threading.Event) -> None:
    """Hand a run to the instance's launcher, again where it cannot be reached, as while it starts anew.

    Before it is asked again it is asked for the run's worker: where only an answer got lost, no second one is started.
    One that cannot be asked is handed a run once.

    Parameters
    ----------
    instance : dagster.DagsterInstance
    run : dagster.DagsterRun
    stopped : threading.Event
        Set where nobody waits for the run any more.

    Raises
    ------
    NoLauncher
        Where it was away for SILENT seconds, of which those do not count that the database of Dagster's records was.
    NoRecords
        Where that one answers otherwise, and not to the launcher, for as long.
    Exception
        Of the launcher, where waiting does not help.
    """
    launcher, until, said = instance.run_launcher, time.monotonic() + SILENT, False
    without_records = 0.0  # seconds
    while not stopped.is_set():
        asked = time.monotonic()
        try:
            launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
            return
        except Exception as error:  # of whatever launcher
            if stopped.is_set() or patiently(lambda: _has_worker(instance, run.run_id)):
                return
            if not (is_away(error) and launcher.supports_check_run_worker_health):
                raise
            if lacks := lacks_records(error):  # which were waited for just now
                took = time.monotonic() - asked
                until, without_records = until + took, without_records + took
                if without_records > SILENT:
                    raise NoRecords.of(error) from error
            if time.monotonic() > until:
                raise NoLauncher(
                    f"the run launcher did not answer for {SILENT:.0f} s ({told(str(error))}); start it, or name the "
                    "right one in dagster.yaml, and run the same again: it goes on from here"
                ) from error
            if not (said or lacks):
                log.warning("the run launcher does not answer (%s); waiting for it", told(str(error)))
                said = True
        stopped.wait(_AGAIN)


def lacks_records(error: BaseException) -> bool:
    """Whether the database of Dagster's records was away, which is no fault of a launcher that writes there.

    Parameters
    ----------
    error : BaseException
        Of whatever launcher. Its words may hold the database's address.

    Returns
    -------
    bool
    """
    return any(records_are_away(cause) for cause in _chain(error))


def _has_worker(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run got a worker, though its launcher did not say so."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.status not in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING):
        return True
    if not instance.run_launcher.supports_check_run_worker_health:
        return False
    try:
        found = instance.run_launcher.check_run_worker_health(run)
    except Exception as error:  # of whatever launcher: it is away
        if records_are_away(error):
            raise
        return False
    return found.status in (WorkerStatus.RUNNING, WorkerStatus.SUCCESS)


def is_away(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that a service cannot be reached, or is not able to answer yet.

    Parameters
    ----------
    error : BaseException
        Of whatever launcher.

    Returns
    -------
    bool
    """
    for cause in _chain(error):
        if isinstance(cause, ConnectionError | TimeoutError | socket.gaierror) or records_are_away(cause):
            return True
        kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(cause).__mro__}
        if kinds & _NO_ANSWER and _NOT_TRUSTED not in kinds:
            return True
        if isinstance(cause, OSError) and cause.errno in _NO_WAY:
            return True
        if (status := _status(cause)) is not None:
            return status >= 500 or status == 429
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _status(error: BaseException) -> int | None:
    """The status of HTTP that an error holds: a number, that of the answer of `requests`, or Ray's in words."""
    response = getattr(error, "response", None)
    for status in (getattr(error, "status", None), getattr(response, "status_code", None)):
        if isinstance(status, int) and status:
            return status
    found = _STATUS.findall(str(error)) if isinstance(error, RuntimeError) else []
    return int(found[-1]) if found else None  # the last one is of the node that Ray's head asked


def lost(instance: dg.DagsterInstance, run: dg.DagsterRun, launched: bool) -> tuple[str, bool]:
    """Why the worker of a run will not end it, as its launcher says.

    Parameters
    ----------
    instance : dagster.DagsterInstance
    run : dagster.DagsterRun
    launched : bool
        Whether the launcher has said that it has the run. Before that it need not know of it, and is not asked: one
        that is away may take half a minute to say nothing.

    Returns
    -------
    words : str
        Empty where it may end it, as one that waits for its place does.
    sure : bool
        Whether it is known; else it becomes so when nothing else is heard for SILENT seconds.
    """
    launcher, begun = instance.run_launcher, run.status == dg.DagsterRunStatus.STARTED
    if not (launched or begun) or not launcher.supports_check_run_worker_health:
        return "", True
    try:
        found = launcher.check_run_worker_health(run)
    except Exception as error:  # of whatever launcher: the way to it is cut, or it starts anew
        return f"nothing is known of its worker: {told(str(error))}", False
    if found.transient or found.status in (WorkerStatus.RUNNING, WorkerStatus.SUCCESS):
        return "", True
    words = f"its worker is lost: {found.status.value} {told(found.msg)} {told(_debug_info(instance, run))}".strip()
    return words, found.status == WorkerStatus.FAILED or (begun and found.status == WorkerStatus.NOT_FOUND)


def _debug_info(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    try:
        return instance.run_launcher.get_run_worker_debug_info(run) or ""
    except Exception as error:  # of whatever launcher; the run is lost all the same
        return f"({error})"


def told(words: str | None) -> str:
    """What a launcher says, of which Ray says pages: how it begins and how it ends.

    Parameters
    ----------
    words : str or None

    Returns
    -------
    str
    """
    words = " ".join((words or "").split())
    return words if len(words) <= 2 * _WORDS else f"{words[:_WORDS]} ... {words[-_WORDS:]}"
