"""What an engine promises, and the test of it: the tables are the same, digest for digest, whichever engine made them.

    from galaxy_assets.orchestration.engines.contract import check_engine

    def test_my_engine(tmp_path, small_survey):
        check_engine("my_engine", build_defs, small_survey, "tiny", tmp_path)

Belongs here: the Protocol of the kind `engines`, and the test that such a plug-in must pass. Does not belong here: an
engine.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import dagster as dg

from galaxy_assets import plugins
from galaxy_assets.orchestration.outcome import Outcome
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.provenance import data_version

Build = Callable[[Path], dg.Definitions]
_WALL_CLOCK = ("image_history", "label_events", "oracle_events")


class Engine(Protocol):
    """Kind `engines`: makes what is outdated of a survey, wherever it runs.

    `galaxy-assets run --engine NAME` uses it; one that can make several partitions at once has a parameter `at_once` of
    that number too. Which partitions are outdated is the rule's to say
    (`orchestration.automation.outdated`); whichever engine makes them, the tables are the same. How far it is shows by
    its outcomes; one that tells `orchestration.course` what it will make and what begins is shown in more detail.
    """

    def __call__(
        self,
        defs: dg.Definitions,
        survey: Survey,
        known: Mapping[str, Survey],
        instance: dg.DagsterInstance,
        root: Path,
        follow: Literal["refit", "retrain"] | None = None,
    ) -> Iterator[Outcome]:
        """Materialise a survey from its images to its results, yielding outcomes as runs end.

        Parameters
        ----------
        defs : dagster.Definitions
            What `definitions.build_defs` makes over `root`.
        survey : Survey
        known : mapping of str to Survey
            All surveys by name, for start weights taken from another.
        instance : dagster.DagsterInstance
            Where runs and events are recorded.
        root : Path
            The data folder.
        follow : {"refit", "retrain"}, optional
            What is fitted, or trained and fitted, anew to all deliveries.

        Yields
        ------
        Outcome
            A failure is one, and costs what reads it alone.

        Raises
        ------
        SurveyError
            Where there is no delivery.
        AtWork
            Where another main job of the survey is at work.
        """
        ...


def check_engine(name: str, build: Build, data: Path, survey: str, folder: Path) -> None:
    """Run a survey by the engine and by `in_process`, and compare every table.

    Parameters
    ----------
    name : str
        The engine's registered name.
    build : callable
        Makes the definitions over a data folder: `galaxy_assets.definitions.build_defs`.
    data : Path
        A data folder with the survey's file, images and weights, and no lake. It is copied, and stays as it is.
    survey : str
        The survey's name.
    folder : Path
        Where the two copies go.

    Raises
    ------
    AssertionError
        Where the engine fails, makes other tables, or does not find everything up to date the second time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reference = _run("in_process", build, shutil.copytree(data, folder / "reference"), survey)
    copy = shutil.copytree(data, folder / "by_engine")
    assert _run(name, build, copy, survey) == reference, f"{name} makes other tables than in_process"
    again = {outcome.status for outcome in _outcomes(name, build, copy, survey)}
    assert again == {"fresh"}, f"run a second time, {name} does not find everything up to date: {sorted(again)}"


def _run(engine: str, build: Build, root: Path, survey: str) -> dict[str, Any]:
    """Table -> its data version, or its number of rows where it holds wall-clock times."""
    import pyarrow.parquet as pq

    wrong = [o for o in _outcomes(engine, build, root, survey) if o.status not in ("done", "fresh")]
    assert not wrong, f"{engine}: {wrong[0].status} {wrong[0].assets}: {wrong[0].error}"
    home = root / "lake" / survey
    files = [file for file in sorted(home.rglob("[!.]*.parquet")) if "pixels" not in file.parts]
    made = {file.relative_to(home).with_suffix("").as_posix(): file for file in files if file.stem != "deliveries"}
    return {
        table: pq.read_metadata(file).num_rows if table.split("/")[0] in _WALL_CLOCK else data_version(file)
        for table, file in made.items()
    }


def _outcomes(engine: str, build: Build, root: Path, survey: str) -> list[Any]:
    known = survey_files(root).known
    home = root.with_name(f"{root.name}_dagster")
    home.mkdir(exist_ok=True)
    with dg.DagsterInstance.local_temp(str(home)) as instance:  # kept, so that other processes see it
        make = plugins.load("engines", engine)
        return list(make(build(root), known[survey], known, instance, root))
