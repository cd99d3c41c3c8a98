"""Dagster's webserver behind the guard, with its daemon and its code server: what `dagster dev` starts, guarded.

Belongs here: starting and ending them. Does not belong here: who may ask (`web.guard`), arguments (`cli.dev`).

Dagster's own webserver answers any page of any site: it looks at neither Host nor Origin and runs mutations that stand
in an address. It runs here in this process, so that there is no second port without the guard; the code server listens
on a socket in a folder of its own.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import psutil
import yaml
from dagster import DagsterInstance
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._cli.utils import get_possibly_temporary_instance_for_cli
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget, WorkspaceFileTarget, WorkspaceLoadTarget
from dagster._serdes import serialize_value
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from galaxy_assets.orchestration.env_file import refuse_another_environment
from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.files import state_of
from galaxy_assets.storage.layout import Layout
from galaxy_assets.web import serving

log = logger(__name__)

POLICY = "frame-ancestors 'self'; form-action 'self'"
"""Beside Dagster's own policy: no other site shows it in a frame and makes a person click there."""
BODIES = ("application/json",)
"""What a form cannot send; Dagster's pages send nothing else."""
_MODULE = "galaxy_assets.definitions"
_POLL = 2000  # milliseconds between two looks of a page at an asset, as in `dagster dev`
_DATABASE = (15_000, 3600, 20)  # statement timeout in ms, connections' age in s and overflow, as in `dagster-webserver`
_LOOK = 2.0  # seconds between two looks at the survey files
_PATIENCE = 60.0  # seconds that the daemon is given to end


class Webserver(DagsterWebserver):
    """Dagster's webserver that takes no GraphQL from an address; that a POST holds JSON is the guard's part."""

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """Answer a POST, and a GET of the playground's page; nothing in an address is run."""
        if request.method != "POST" and request.url.query:
            return PlainTextResponse("GraphQL is asked with POST, as JSON", 405, headers={"allow": "POST"})
        return await super().graphql_http_endpoint(request)


def serve(workspace: Path | None, *, host: str, port: int) -> int:
    """Serve Dagster's pages, with daemon and code server, until the process is told to end.

    Parameters
    ----------
    workspace : Path or None
        A workspace file; None for this package's code location.
    host : str
        Address to bind to; other than loopback it asks for a token.
    port : int

    Returns
    -------
    int
        Exit status: 1 where the daemon ended by itself.

    Raises
    ------
    OtherEnvironment
        Where a file `.env` of the current folder leads to other data.
    """
    refuse_another_environment()
    os.environ["DAGSTER_IS_DEV_CLI"] = "1"
    os.environ["DAGSTER_verbose"] = ""
    target = (
        ModuleTarget(_MODULE, None, None, _MODULE.split(".")[0])
        if workspace is None
        else WorkspaceFileTarget([str(workspace)])
    )
    serving.end_by_exception()
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        instance = stack.enter_context(get_possibly_temporary_instance_for_cli("galaxy-assets dev"))
        located = stack.enter_context(_code_servers(instance, target))
        daemon = stack.enter_context(_daemon(instance, located))
        instance.optimize_for_webserver(*_DATABASE)
        context = WorkspaceProcessContext(
            instance,
            workspace_load_target=WorkspaceFileTarget([str(located)]),
            version=__version__,
            code_server_log_level="WARNING",
        )
        stack.enter_context(context)
        stack.enter_context(_loaded_anew(context, Layout.default().surveys))

        def watch(_: str, stop: serving.Stop) -> None:
            Thread(target=lambda: (daemon.wait(), stop()), daemon=True).start()

        app = Webserver(context, live_data_poll_rate=_POLL).create_asgi_app()
        serving.serve(serving.Site("Dagster", app, POLICY, BODIES), host=host, port=port, started=watch)
        if daemon.poll():
            log.error("Dagster's daemon ended by itself; its last words are above")
            return 1
    return 0


@contextmanager
def _code_servers(instance: DagsterInstance, target: WorkspaceLoadTarget) -> Iterator[Path]:
    """A workspace file of the code servers, which webserver and daemon share.

    They are told to end, and ended if they do not: a run that one of them executes is then interrupted, as by
    `dagster dev`.
    """
    started: list[psutil.Process] = []
    try:
        with (
            ProxyServerManager(instance, target, code_server_log_level="warning") as servers,
            tempfile.TemporaryDirectory(prefix="galaxy_assets_dev_") as folder,
        ):
            file = Path(folder) / "workspace.yaml"
            file.write_text(yaml.safe_dump({"load_from": list(servers.get_code_server_specs())}))
            try:
                yield file
            finally:
                started += psutil.Process().children(recursive=True)
    finally:
        _, left = psutil.wait_procs(started, _PATIENCE / 6)
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    end(process)
            _, left = psutil.wait_procs(left, _PATIENCE / 6)


@contextmanager
def _loaded_anew(context: WorkspaceProcessContext, folder: Path) -> Iterator[None]:
    """Load the code locations anew where survey files were edited: a code server keeps those that it began with."""
    over = Event()

    def follow() -> None:
        before = _survey_files(folder)
        while not over.wait(_LOOK):
            if (now := _survey_files(folder)) == before:
                continue
            before = now
            log.info("%s was edited; loading the surveys anew", folder)
            for name in context.code_location_names:
                try:
                    context.reload_code_location(name)
                except Exception as error:  # of whatever location: it is shown on the page Deployment
                    log.warning("%s is not loaded anew: %s", name, error)

    following = Thread(target=follow, daemon=True)
    following.start()
    try:
        yield
    finally:
        over.set()
        following.join(_PATIENCE / 6)


def _survey_files(folder: Path) -> dict[str, tuple[int, ...]]:
    """The survey files of a folder, and what tells that one was edited."""
    found = {}
    for path in folder.glob("[!.]*.y*ml"):
        with suppress(OSError):  # taken away at this moment
            found[path.name] = state_of(path)
    return found


@contextmanager
def _daemon(instance: DagsterInstance, workspace: Path) -> Iterator[subprocess.Popen]:
    """Dagster's daemon, which launches queued runs and sensors."""
    command = [sys.executable, "-m", "dagster._daemon", "run", "--log-level", "info", "--workspace", str(workspace)]
    daemon = subprocess.Popen([*command, "--instance-ref", serialize_value(instance.get_ref())])
    try:
        yield daemon
    finally:
        daemon.terminate()
        try:
            daemon.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
