"""`plan`: what a survey of a given size would cost, before anything is run.

Belongs here: the options and what is printed. Does not belong here: the plan (`orchestration.planning`).
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psutil
import typer

from galaxy_assets.cli.arguments import chosen_surveys
from galaxy_assets.cli.terminal import say
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.printing import printable
from galaxy_assets.settings.root import data_root
from galaxy_assets.settings.survey import Survey

if TYPE_CHECKING:
    from galaxy_assets.orchestration.engines.main_job import Stage
    from galaxy_assets.orchestration.planning.plan import Cost, Plan

_FEWEST, _MOST = 1.0, 1e12


def _number(text: str) -> float:
    """A whole number that a person may write as 1e8."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not _FEWEST <= value <= _MOST or value != int(value):
        raise typer.BadParameter(f"{text} is not a whole number from 1 to 1e12, such as 250000 or 1e8")
    return value


def plan(
    survey: Annotated[str, typer.Argument(help="name of a survey, whose settings are planned with")],
    galaxies: Annotated[float, typer.Option(parser=_number, metavar="N", help="how many there will be, such as 1e8")],
    batch_size: Annotated[float, typer.Option(parser=_number, metavar="N", help="galaxies in a delivery")] = 1e5,
    cores: Annotated[int, typer.Option(min=1, help="of all machines together")] = 1,
    gpus: Annotated[int, typer.Option(min=0, help="of all machines together; networks then run on them")] = 0,
    memory: Annotated[
        float | None, typer.Option(min=1, help="GB of the machine that fits the models; this one's unless given")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Say what a survey of some size would cost: runs, core and GPU hours, bytes, memory, and what breaks first.

    Nothing is run or read but the survey's settings. Figures continue what the benchmarks measured; each says whether
    it was measured or computed, and what is not known is said at the end.

    Example: galaxy-assets plan gz_decals --galaxies 1e8 --gpus 4
    """
    from galaxy_assets.orchestration.planning.measured import measured
    from galaxy_assets.orchestration.planning.plan import Size
    from galaxy_assets.orchestration.planning.plan import plan as planned

    root = data_root()
    (chosen,) = chosen_surveys([survey], root)
    room = memory * 1e9 if memory is not None else float(psutil.virtual_memory().total)
    size = Size(int(galaxies), int(batch_size), cores, gpus, room)
    try:
        found = planned(chosen, size, *_stages(chosen, root), measured())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    say(json.dumps(found.as_json() | {"measured_on": measured().machines}, indent=1) if as_json else _text(found))


def _stages(survey: Survey, root: Path) -> "tuple[list[Stage], list[Stage]]":
    """The main job's stages in process, and by the engine `launched`; of a survey that is not enabled too."""
    import dagster as dg

    from galaxy_assets.orchestration.engines.main_job import stages
    from galaxy_assets.orchestration.resources import resources
    from galaxy_assets.orchestration.survey import survey_definitions

    assets = survey_definitions(survey, survey_files(root).known, root)
    graph = dg.Definitions.merge(assets, dg.Definitions(resources=resources(root))).resolve_asset_graph()
    return stages(graph, survey.name), stages(graph, survey.name, apart=True)


def _text(found: "Plan") -> str:
    from galaxy_assets.orchestration.planning.measured import measured

    size, read, kept = found.size, sum(b.read for b in found.bytes), sum(b.kept for b in found.bytes)
    lines = [
        f"{printable(found.survey)}, {size.galaxies:,} galaxies in {size.batches:,} batches of {size.batch_size:,}: "
        f"{found.runs:,} runs, {found.runs_launched:,} with --engine launched",
        "",
        f"  {'step':30}{'core hours':>14}{'GPU hours':>12}{'memory':>10}{'full at':>11}  basis",
        *map(_line, found.costs),
        f"  {'together':30}{_hours(found.core_hours):>14}{_hours(found.gpu_hours):>12}",
        "",
        f"  {'bytes':30}{'read':>14}{'kept':>12}",
        *(f"  {b.what:30}{_bytes(b.read):>14}{_bytes(b.kept):>12}{'':21}  {b.basis}" for b in found.bytes),
        f"  {'together':30}{_bytes(read):>14}{_bytes(kept):>12}",
        "",
        f"{_hours(found.hours)} hours at least on {size.cores} cores and {size.gpus} GPUs, batches side by side, "
        "training on all cores, and the rest one by one (computed)",
    ]
    if (largest := found.largest) is not None:
        lines.append(f"largest: {largest.step}, {_bytes(largest.memory or 0)} of memory (measured, continued)")
    if (first := found.breaks_first) is not None and first.full_at is not None:
        over = "; this survey is beyond it" if first.full_at < size.galaxies else ""
        lines.append(
            f"breaks first, of the steps measured: {first.step}, whose {_bytes(size.memory)} are full at "
            f"{first.full_at:.1g}{over}"
        )
    slow = found.longest_on_one_core
    lines.append(f"longest that more cores do not shorten: {slow.step}, {_hours(slow.core_hours)} core hours")
    lines += ["", "measured: by the benchmarks, of one core, only the number of galaxies is another"]
    lines += [f"    {machine}" for machine in measured().machines]
    lines += ["computed: scaled by counted operations, or resting on an assumption", "not known:"]
    return "\n".join([*lines, *(f"    {printable(words)}" for words in found.unknown)])


def _line(cost: "Cost") -> str:
    memory = "" if cost.memory is None else _bytes(cost.memory)
    full = "" if cost.full_at is None else f"{cost.full_at:.0e}"
    hours = ("?" if cost.basis == "unknown" else _hours(cost.core_hours), _hours(cost.gpu_hours))
    return f"  {cost.step:30}{hours[0]:>14}{hours[1]:>12}{memory:>10}{full:>11}  {cost.basis}"


def _hours(hours: float) -> str:
    return "" if hours == 0 else f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"


def _bytes(count: float) -> str:
    if count == 0:
        return ""
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"
