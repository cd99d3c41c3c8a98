"""How long the tables of a survey's first run take: writes galaxy_assets/orchestration/planning/first_run.json.

    python benchmarks/first_run.py FOLDER [FOLDER ...] [--check]

Each FOLDER is a data folder in which `galaxy-assets run` made one survey, whole and on a quiet machine, with Dagster's
records in `.dagster`, as `tuned_surveys.py` leaves them. The seconds of each asset are fitted by a fixed part and one
that grows with its work; neither is below 0.

With `--check` nothing is written: each survey's run is followed anew by what the others tell, and the time left that
would have been said when each table was made is compared with the time that it took from there. What long steps tell of
themselves is left out, and so what a user reads is no worse.

Belongs here: the fit, and the comparison. Does not belong here: what an asset's seconds grow with (`planning`).
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import numpy as np
from scipy.optimize import nnls
from side_by_side import machine

from galaxy_assets.cli.run_progress import RunProgress
from galaxy_assets.orchestration.course import Began, Ended, Planned, Table
from galaxy_assets.orchestration.engines.forecast import times_of_earlier_runs
from galaxy_assets.orchestration.planning import first_run
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout


class Made(NamedTuple):
    """A survey's run: when each table was begun and made, seconds since 1970, and its work."""

    survey: Survey
    layout: Layout
    times: dict[Table, tuple[float, float]]
    work: dict[Table, float]


def made(folder: Path) -> Made:
    """The run of a data folder."""
    layout = Layout(folder.resolve())
    (file,) = layout.surveys.glob("*.yaml")
    survey = survey_files(layout.root).named(file.stem)
    with dg.DagsterInstance.from_config(str(layout.root / ".dagster")) as instance:
        times = times_of_earlier_runs(instance, survey.name)
    work = {table: found[0] for table, found in first_run.works(survey, times, layout).items()}
    return Made(survey, layout, times, work)


def fitted(runs: list[Made]) -> dict[str, tuple[float, float]]:
    """Asset -> seconds in any case, and for each unit of work."""
    found = {}
    for asset in dict.fromkeys(asset for run in runs for asset, _ in run.times):
        tables = [(run, table) for run in runs for table in run.times if table[0] == asset]
        seconds = np.array([run.times[table][1] - run.times[table][0] for run, table in tables])
        work = np.array([run.work[table] for run, table in tables])
        scale = work.max() or 1.0
        (fixed, each), _ = nnls(np.stack([np.ones_like(work), work / scale], 1), seconds)
        if not each and work.all():  # by chance of few surveys: what takes some time takes more for more
            fixed = seconds.min() / 2
            each = float(np.mean((seconds - fixed) / (work / scale)))
        found[asset] = (float(f"{fixed:.4g}"), float(f"{each / scale:.4g}"))
    return found


def followed(run: Made, known: Mapping[str, tuple[float, float]]) -> list[tuple[float, float]]:
    """The seconds left that were said and those that it took, after each table, by what is known of other runs."""
    now = begun = min(start for start, _ in run.times.values())
    end, said = max(end for _, end in run.times.values()), []
    progress = RunProgress(
        {},
        {},
        lambda: now,
        expect=lambda tables: first_run.expected_seconds(run.survey, tables, run.layout, known),
        foreseen_by=first_run.FORESEEN_BY,
    )
    progress.see(Planned(dict.fromkeys(run.times, True), 1))
    moments = [(at, Began(table)) for table, (at, _) in run.times.items()]
    moments += [(at, Ended(table, at - start)) for table, (start, at) in run.times.items()]
    for now, told in sorted(moments, key=lambda one: one[0]):
        progress.see(told)
        if isinstance(told, Ended):
            said.append((progress.left().seconds, end - now))
    print(f"{run.survey.name}: {end - begun:.0f} s", flush=True)
    return said


def main() -> None:
    """Write the file, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    given = parser.parse_args()
    runs = [made(folder) for folder in given.folders]
    if given.check:
        for run in runs:
            said = followed(run, fitted([other for other in runs if other is not run]))
            for told, took in said:
                if took > 60:
                    print(f"  said {told:5.0f} s, took {took:5.0f} s: {told / took:.2f}")
        return
    about = {"written_by": f"benchmarks/{Path(__file__).name}", "machine": machine(), "measured": time.strftime("%F")}
    of = {"of": [f"{run.survey.name}: {len(run.times)} tables" for run in runs]}
    text = json.dumps(about | of | {"assets": fitted(runs)}, indent=1)
    first_run.FILE.write_text(text.replace("[\n   ", "[").replace(",\n   ", ", ").replace("\n  ]", "]") + "\n")
    print(f"written: {first_run.FILE}")


if __name__ == "__main__":
    main()
