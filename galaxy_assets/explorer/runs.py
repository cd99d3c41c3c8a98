"""Runs of Dagster over its GraphQL address: start one, follow its steps, say what went wrong.

Belongs here: the requests and their answers in words. Does not belong here: what the page shows of a run, and the
module `dagster` itself, which this process does not load.
"""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.storage.mounts import names_of
from galaxy_assets.web.guard import cookie_name, is_loopback

_TIMEOUT = 10.0
_POLL = 1.0  # seconds between two questions about a run
_LOST = 5  # questions without an answer, one after the other, after which nothing more is asked
_LAKE = "galaxy_assets_lake"  # the resource that says a code location's data folder

_LOCATION = """
query($keys: [AssetKeyInput!]) {
  assetNodes(assetKeys: $keys) {
    assetKey { path }
    repository {
      name
      location { name }
      allTopLevelResourceDetails { name configuredValues { key value } }
    }
  }
}"""
_LAUNCH = """
mutation($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on InvalidSubsetError { message }
    ... on PipelineNotFoundError { message }
    ... on RunConflict { message }
    ... on UnauthorizedError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
_STATUS = """
query($id: ID!, $after: String) {
  runOrError(runId: $id) {
    __typename
    ... on PythonError { message }
    ... on RunNotFoundError { message }
    ... on Run {
      status
      executionPlan { steps { key } }
      stepStats { stepKey status }
      eventConnection(afterCursor: $after) {
        cursor
        events {
          __typename
          ... on ExecutionStepFailureEvent { stepKey error { message causes: errorChain { error { message } } } }
          ... on RunFailureEvent { message error { message } }
        }
      }
    }
  }
}"""

ENDED = ("SUCCESS", "FAILURE", "CANCELED")
WORDS = {
    "QUEUED": "waiting in Dagster's queue",
    "NOT_STARTED": "waiting to start",
    "STARTING": "starting a process",
    "STARTED": "running",
    "CANCELING": "being cancelled",
    "SUCCESS": "finished",
    "FAILURE": "failed",
    "CANCELED": "cancelled",
}


class RunError(RuntimeError):
    """Dagster could not be asked, or refused; the message says what to do."""


@dataclass
class Progress:
    """A run at one moment.

    Attributes
    ----------
    status : str
        As Dagster names it.
    steps : list of (str, str)
        Steps in order with their status, `WAITING` where there is none yet.
    failures : list of str
        What failed, in words.
    cursor : str or None
        Of the run's events read so far.
    """

    status: str = "QUEUED"
    steps: list[tuple[str, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    cursor: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ENDED

    @property
    def share(self) -> float:
        """Share of the steps that ended, 0 to 1."""
        done = sum(status in ("SUCCESS", "FAILURE", "SKIPPED") for _, status in self.steps)
        return done / len(self.steps) if self.steps else 0.0


@dataclass
class Run:
    """A run that the page started, and what became of it.

    Attributes
    ----------
    survey : str
    assets : list of str
    run : str
        Its id.
    progress : Progress
    error : str
        Empty where nothing went wrong.
    started : float
        Seconds.
    ended : float or None
        Seconds; None while it runs.
    """

    survey: str
    assets: list[str]
    run: str = ""
    progress: Progress = field(default_factory=Progress)
    error: str = ""
    started: float = field(default_factory=time.time)
    ended: float | None = None

    @property
    def over(self) -> bool:
        """Whether it ended."""
        return self.ended is not None


@dataclass(frozen=True)
class Dagster:
    """A Dagster webserver. Its methods wait for answers: call them in a thread.

    Attributes
    ----------
    address : str
        Such as http://127.0.0.1:3000.
    token : str
        Of a server that asks for one, else empty.
    """

    address: str
    token: str = ""

    @classmethod
    def at(cls, typed: str) -> "Dagster":
        """The webserver of an address as a person gives it.

        Parameters
        ----------
        typed : str
            As `galaxy-assets dev` printed it, with the token where it has one; `http://` may be left out.

        Returns
        -------
        Dagster

        Raises
        ------
        PrintableError
            Where it is no address.

        Examples
        --------
        >>> Dagster.at("localhost:3000/?token=secret")
        Dagster(address='http://localhost:3000', token='secret')
        """
        try:
            parts = urlsplit(typed if "://" in typed else f"http://{typed}")
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # of the port, or of brackets
            usable = False
        if not usable:
            raise PrintableError(f"{typed!r} is no address of Dagster's pages; one is http://127.0.0.1:3000")
        token = parse_qs(parts.query).get("token", [""])[0]
        return cls(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", token)

    def run_page(self, run: str) -> str:
        """Address of a run's page.

        Parameters
        ----------
        run : str
            Its id.

        Returns
        -------
        str
        """
        return f"{self.address}/runs/{run}"

    def asset_page(self, survey: str, asset: str) -> str:
        """Address of an asset's page.

        Parameters
        ----------
        survey, asset : str

        Returns
        -------
        str
        """
        return f"{self.address}/assets/{survey}/{asset}"

    def launch(self, survey: str, assets: Sequence[str], root: Path, partition: str | None = None) -> str:
        """Start a run that materialises assets of a survey.

        Parameters
        ----------
        survey : str
        assets : sequence of str
            Their names.
        root : Path
            The data folder.
        partition : str, optional
            Of the assets that have partitions.

        Returns
        -------
        str
            The run's id.

        Raises
        ------
        RunError
            Where Dagster does not answer, knows no such asset, works in another data folder, or starts no run.
        """
        keys = [{"path": [survey, asset]} for asset in assets]
        nodes = self._ask(_LOCATION, {"keys": keys})["assetNodes"]
        known = {node["assetKey"]["path"][-1]: node["repository"] for node in nodes}
        if missing := [asset for asset in assets if asset not in known]:
            raise RunError(
                f"Dagster at {self.address} knows no {', '.join(missing)} of {survey}: it serves another project or "
                "data folder, or its code location did not load"
            )
        there, here = _data_folder(known[assets[0]]), names_of(root)
        if not set(there) & set(here):
            raise RunError(
                f"Dagster at {self.address} works in {(there or ['a data folder that it does not name'])[0]}, not in "
                f"{here[0]}; start `galaxy-assets dev` where GALAXY_ASSETS_DATA={here[0]} means this data folder, or "
                "name the address of a Dagster that works in it with --dagster"
            )
        tags = [{"key": "galaxy_assets/started_by", "value": "explorer"}]
        if partition is not None:
            tags.append({"key": "dagster/partition", "value": partition})
        params = {
            "selector": {
                "repositoryLocationName": known[assets[0]]["location"]["name"],
                "repositoryName": known[assets[0]]["name"],
                "jobName": "__ASSET_JOB",
                "assetSelection": keys,
            },
            "runConfigData": {},
            "executionMetadata": {"tags": tags},
        }
        answer = self._ask(_LAUNCH, {"params": params})["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            said = answer.get("message") or "; ".join(e["message"] for e in answer.get("errors", []))
            raise RunError(f"Dagster did not start the run: {said or answer['__typename']}")
        return answer["run"]["runId"]

    def follow(self, run: str, before: Progress) -> Progress:
        """The run as it is now.

        Parameters
        ----------
        run : str
            Its id.
        before : Progress
            What was known of it.

        Returns
        -------
        Progress

        Raises
        ------
        RunError
            Where Dagster does not answer or does not know the run.
        """
        answer = self._ask(_STATUS, {"id": run, "after": before.cursor})["runOrError"]
        if answer["__typename"] != "Run":
            raise RunError(f"Dagster does not know run {run} any more: {answer.get('message', answer['__typename'])}")
        stats = {s["stepKey"]: s["status"] or "WAITING" for s in answer["stepStats"]}
        plan = [s["key"] for s in (answer["executionPlan"] or {"steps": []})["steps"]]
        events = answer["eventConnection"]
        failures = list(before.failures)
        for event in events["events"]:
            if event["__typename"] == "ExecutionStepFailureEvent":
                failures.append(f"{event['stepKey']}: {_innermost(event['error'])}")
            elif event["__typename"] == "RunFailureEvent" and not failures:
                failures.append(_innermost(event["error"]) or event["message"])
        steps = [(key, stats.get(key, "WAITING")) for key in plan or stats]
        return Progress(answer["status"], steps, failures, events["cursor"])

    def _opener(self) -> urllib.request.OpenerDirector:
        """What sends requests: never by a proxy to this machine, which would be handed the token."""
        direct = is_loopback(urlsplit(self.address).hostname or "")
        return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if direct else []))

    def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        parts = urlsplit(self.address)
        # the guard of `galaxy-assets dev` lets in what says that it belongs there, which no other site's page can say
        headers = {"content-type": "application/json", "origin": f"{parts.scheme}://{parts.netloc}"}
        if self.token:
            headers["cookie"] = f"{cookie_name(parts.port or 80)}={self.token}"
        request = urllib.request.Request(f"{self.address}/graphql", body, headers, method="POST")
        try:
            with self._opener().open(request, timeout=_TIMEOUT) as answer:
                content = json.load(answer)
        except urllib.error.HTTPError as error:
            raise RunError(
                f"Dagster at {self.address} refused: {error.code} {error.read(300).decode(errors='replace')}"
            ) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise RunError(
                f"no Dagster at {self.address} ({reason}); start it with `galaxy-assets dev`, "
                "or name its address with --dagster"
            ) from error
        if content.get("errors"):
            raise RunError(f"Dagster at {self.address}: {'; '.join(e['message'] for e in content['errors'])}")
        return content["data"]


async def until_over(run: Run, dagster: Dagster) -> None:
    """Follow a run that was started until it is over; what went wrong is its `error`.

    Parameters
    ----------
    run : Run
    dagster : Dagster
        Where it runs.
    """
    lost = 0
    try:
        while not run.progress.ended:
            await asyncio.sleep(_POLL)
            try:
                run.progress = await asyncio.to_thread(dagster.follow, run.run, run.progress)
                lost = 0
            except RunError:
                lost += 1
                if lost >= _LOST:
                    raise
        run.error = "\n".join(run.progress.failures)
    except Exception as error:  # whatever it was: a run that is never over would let nobody start another
        run.error = f"{str(error) or type(error).__name__}. The run may go on; its page shows it."
    finally:
        run.ended = time.time()


def _data_folder(repository: dict[str, Any]) -> list[str]:
    """The names of the data folder of a repository's assets, as far as it says them."""
    resources = {r["name"]: r["configuredValues"] for r in repository["allTopLevelResourceDetails"]}
    said = {value["key"]: value["value"] for value in resources.get(_LAKE, [])}
    return json.loads(said.get("names", "[]"))


def _innermost(error: dict[str, Any] | None) -> str:
    """The message of the error that caused an error: the outer ones name only the step."""
    if error is None:
        return ""
    chain = error.get("causes") or []
    return (chain[-1]["error"]["message"] if chain else error["message"]).strip()
