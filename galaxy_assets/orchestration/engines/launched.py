"""The engine that hands runs to the instance's run launcher: several at once, on this machine or on a cluster.

Which launcher that is, is a line of `dagster.yaml`: Dagster's own starts a process on this machine, others a Ray job or
a pod. Runs go to it without Dagster's queue, so that no daemon is needed. A worker that is lost is found by asking the
launcher.

Belongs here: handing runs over, waiting for them, and ending those that nobody waits for. Does not belong here: the
order of the runs (`main_job`), Dagster's code server (`code_server`).
"""

import os
import signal
import threading
import time
import uuid
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.origin import JobPythonOrigin
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from galaxy_assets.orchestration import course
from galaxy_assets.orchestration.automation.outdated import Follow
from galaxy_assets.orchestration.engines.code_server import ATTRIBUTE, LOCATION, MODULE, CodeServer
from galaxy_assets.orchestration.engines.forecast import asset_of
from galaxy_assets.orchestration.engines.launchers import NoLauncher, hand_over, lacks_records, lost
from galaxy_assets.orchestration.engines.main_job import (
    NO_STEP,
    QUIET,
    WHOLE,
    Ran,
    Wanted,
    materialise,
    no_batch,
    reason,
)
from galaxy_assets.orchestration.engines.stopping import LAUNCHED, NoRecords, end, patiently
from galaxy_assets.orchestration.env_file import refuse_another_environment
from galaxy_assets.orchestration.outcome import Outcome
from galaxy_assets.settings.printing import PrintableError, logger
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.owners import SILENT
from galaxy_assets.storage.store import FOLDER, store_of

log = logger(__name__)

_LOOK, _ASK = 0.5, 10.0
"""Seconds between looks at the runs, and between questions to the launcher whether their workers are there."""
_MADE = DagsterEventType.ASSET_MATERIALIZATION


class NotLaunched(PrintableError):
    """Runs cannot be handed to a launcher here."""


def run_survey(
    defs: dg.Definitions,
    survey: Survey,
    known: Mapping[str, Survey],
    instance: dg.DagsterInstance,
    root: Path,
    follow: Follow | None = None,
    at_once: int = 2,
) -> Generator[Outcome, None, None]:
    """Materialise a survey from its images to its results by the instance's run launcher.

    It is the engine `launched` (`contract.Engine`, which says what the parameters are). Ctrl-C and SIGTERM cancel the
    runs that are under way.

    Parameters
    ----------
    defs : dagster.Definitions
    survey : Survey
    known : mapping of str to Survey
    instance : dagster.DagsterInstance
        One that is kept: ephemeral ones are of one process.
    root : Path
        Workers have the same folder under the same path.
    follow : {"refit", "retrain"}, optional
    at_once : int
        So many runs are under way together.

    Yields
    ------
    Outcome

    Raises
    ------
    SurveyError
        Where there is no delivery.
    AtWork
        Where another main job of the survey is at work.
    NotLaunched
        Where the instance is not kept.
    OtherEnvironment
        Where a file `.env` of the current folder leads workers to other data.
    """
    if not instance.is_persistent:
        raise NotLaunched("the engine launched needs a Dagster instance that is kept; set DAGSTER_HOME")
    job = defs.resolve_implicit_global_asset_job_def()
    with _data_of_workers(root), _stopped_by_sigterm(), ExitStack() as stack:
        refuse_another_environment()
        server = stack.enter_context(_server(instance))
        runs = Launched(job, instance, server, at_once)
        try:
            yield from materialise(defs, survey, known, instance, root, runs, follow)
        finally:
            runs.cancel()


@contextmanager
def _data_of_workers(root: Path) -> Iterator[None]:
    """Say in the environment, which workers get, which data folder the code location is built over.

    A bucket stays named: `root` is the folder of this machine's copies of it.
    """
    if store_of(root.resolve()) is not FOLDER:
        yield
        return
    name = "GALAXY_ASSETS_DATA"
    before = os.environ.get(name)
    os.environ[name] = str(root.resolve())
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Take SIGTERM, which schedulers send, as Ctrl-C."""
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _server(instance: dg.DagsterInstance) -> Iterator[CodeServer | None]:
    """The code server that Dagster's own launcher needs; others start their workers themselves."""
    if not isinstance(instance.run_launcher, DefaultRunLauncher):
        yield None
        return
    with CodeServer(instance) as server:
        yield server


@dataclass
class _UnderWay:
    """A run that was handed over: its partition, since when, its launch, and how far its events were read."""

    partition: str | None
    since: float
    launch: Future | None = None
    cursor: str | None = None
    asked: float = 0.0
    answered: float = field(default_factory=time.monotonic)


@dataclass
class Launched:
    """Runs that the instance's run launcher starts.

    Attributes
    ----------
    job : dagster job
        Can make any asset.
    instance : dagster.DagsterInstance
    server : CodeServer or None
        For Dagster's own launcher.
    at_once : int
    """

    job: Any
    instance: dg.DagsterInstance
    server: CodeServer | None
    at_once: int
    apart: bool = True
    _under_way: dict[str, _UnderWay] = field(default_factory=dict, init=False, repr=False)
    _ended: dict[str, Ran] = field(default_factory=dict, init=False, repr=False)
    _starting: ThreadPoolExecutor = field(default_factory=ThreadPoolExecutor, init=False, repr=False)
    _stopped: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def start(self, wanted: Wanted) -> str:
        """Create a run and hand it over; one that cannot be launched has failed."""
        repository = ReconstructableRepository.for_module(MODULE, ATTRIBUTE, str(Path.cwd()))
        location = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name=MODULE), LOCATION)
        name = self.job.name
        run_id = str(uuid.uuid4())
        if not patiently(lambda: self._is_there(wanted)):
            self._ended[run_id] = Ran(set(), no_batch(wanted), 0.0)
            return run_id
        key = None if wanted.partition is None else str(wanted.partition)
        self._under_way[run_id] = _UnderWay(key, time.monotonic())

        def record() -> None:
            if self.instance.get_run_by_id(run_id) is None:
                self.instance.create_run_for_job(
                    self.job.get_subset(asset_selection=set(wanted.assets)),
                    run_id=run_id,
                    run_config=QUIET,
                    tags={**wanted.tags, **LAUNCHED, **_partition_tags(wanted.partition)},
                    asset_selection=frozenset(wanted.assets),
                    remote_job_origin=RemoteRepositoryOrigin(location, "__repository__").get_job_origin(name),
                    job_code_origin=JobPythonOrigin(name, repository.get_python_origin()),
                )
            starting = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, job_name=name)
            self.instance.report_dagster_event(starting, run_id=run_id)

        patiently(record)
        # a launcher answers when its worker was started, which takes seconds
        self._under_way[run_id].launch = self._starting.submit(self._launch, run_id)
        return run_id

    def _is_there(self, wanted: Wanted) -> bool:
        """Whether Dagster's records have the partition."""
        partitions = self.job.asset_layer.asset_graph.get(wanted.assets[0]).partitions_def
        with partition_loading_context(dynamic_partitions_store=self.instance):
            return partitions is None or partitions.has_partition_key(wanted.partition)

    def _launch(self, run_id: str) -> None:
        run = patiently(lambda: self._run(run_id))
        if self.server is not None:
            DefaultRunLauncher.launch_run_from_grpc_client(self.instance, run, self.server.client)
        else:
            hand_over(self.instance, run, self._stopped)

    def ended(self) -> dict[str, Ran]:
        """Wait until a run has ended, and tell meanwhile what the workers log."""
        while not self._ended:
            patiently(self._look)
            if not self._ended:
                time.sleep(_LOOK)
        ended, self._ended = self._ended, {}
        return ended

    def _look(self) -> None:
        """Tell what the workers did, and keep what has ended; broken off, another look goes on from there."""
        for run_id, under_way in list(self._under_way.items()):
            self._find_unlaunched(run_id, under_way)
            self._find_lost(run_id, under_way)
            over = self._run(run_id).is_finished
            self._tell(run_id, under_way)
            if over:
                self._ended[run_id] = self._ran(run_id, under_way)
                del self._under_way[run_id]

    def _ran(self, run_id: str, under_way: _UnderWay) -> Ran:
        self.instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        events = [e.dagster_event for e in self.instance.all_logs(run_id) if e.dagster_event is not None]
        made = {event.asset_key for event in events if event.event_type == _MADE and event.asset_key}
        why = reason(events)
        if why == NO_STEP or self._run(run_id).status == dg.DagsterRunStatus.CANCELED:
            told = [event.message for event in events if event.message and _says_why(event)]
            why = "; ".join(dict.fromkeys(told)) or why
        return Ran(made, f"{why} (run {run_id})", time.monotonic() - under_way.since)

    def _tell(self, run_id: str, under_way: _UnderWay) -> None:
        """Log here what the worker's code logged, and tell which of its assets begin and end."""
        found = self.instance.get_records_for_run(run_id, under_way.cursor)
        under_way.cursor = found.cursor
        for record in found.records:
            entry = record.event_log_entry
            if (event := entry.dagster_event) is not None:
                _tell_step(event, under_way.partition)
            elif entry.user_message:
                log.log(int(entry.level), "[%s] %s", under_way.partition or WHOLE, entry.user_message)

    def _find_unlaunched(self, run_id: str, under_way: _UnderWay) -> None:
        """Fail a run that its launcher, of whatever kind, could not start; where it is away, no other could either."""
        if under_way.launch is not None and under_way.launch.done():
            error = under_way.launch.exception()
            if isinstance(error, NoLauncher | NoRecords):
                raise error
            if error is not None and not self._run(run_id).is_finished:
                why = "the database of Dagster's records did not answer" if lacks_records(error) else error
                self._fail(run_id, f"it could not be launched: {why}")
            under_way.launch = None

    def _find_lost(self, run_id: str, under_way: _UnderWay) -> None:
        """Fail a run whose worker is gone: nobody else would."""
        now = time.monotonic()
        if now - under_way.asked < _ASK:
            return
        under_way.asked = now
        if self.server is not None:  # which fails the runs of its own processes itself
            why, sure = "" if self.server.runs else "Dagster's code server ended, and the worker with it", True
        else:
            why, sure = lost(self.instance, self._run(run_id), launched=under_way.launch is None)
        if sure:
            under_way.answered = now
        if why and (sure or now - under_way.answered > SILENT) and not self._run(run_id).is_finished:
            self._fail(run_id, why)

    def cancel(self) -> None:
        """End the runs that are under way."""
        if self._under_way:
            log.info("cancelling %d runs", len(self._under_way))
        self._stopped.set()
        self._starting.shutdown()
        end(self.instance, list(self._under_way))
        self._under_way.clear()

    def _fail(self, run_id: str, why: str) -> None:
        self.instance.report_run_failed(self._run(run_id), why)

    def _run(self, run_id: str) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        if run is None:
            raise NotLaunched(f"run {run_id} was deleted while it was under way; run the survey again")
        return run


def _tell_step(event: DagsterEvent, partition: str | None) -> None:
    """Tell that an asset of a run begins, or was made."""
    if (asset := asset_of(event.step_key or "")) is None:
        return
    if event.is_step_start:
        course.tell(course.Began((asset, partition)))
    elif event.is_step_success:
        course.tell(course.Ended((asset, partition), event.step_success_data.duration_ms / 1000))


def _says_why(event: DagsterEvent) -> bool:
    """Whether an event tells why a run ended before a step could."""
    told_nothing = "from outside the execution context"
    ends = event.is_run_failure or event.event_type == DagsterEventType.RUN_CANCELED
    message = event.message or ""
    crashed = event.event_type == DagsterEventType.ENGINE_EVENT and "Run execution process" in message
    return crashed or (ends and told_nothing not in message)


def _partition_tags(key: str | dg.MultiPartitionKey | None) -> dict[str, str]:
    if key is None:
        return {}
    own = key.keys_by_dimension if isinstance(key, dg.MultiPartitionKey) else {}
    return {"dagster/partition": str(key)} | {f"dagster/partition/{name}": value for name, value in own.items()}
