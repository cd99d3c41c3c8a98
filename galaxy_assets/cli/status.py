"""`status`: how far the surveys are, and what would be made now and why.

Belongs here: what is printed. Does not belong here: the rule (`orchestration.automation.outdated`), the ledger
(`orchestration.automation.deliveries`).
"""

import gc
from collections import Counter
from typing import Annotated, Any

import typer

from galaxy_assets.cli.arguments import chosen_surveys
from galaxy_assets.cli.survey import say_broken
from galaxy_assets.cli.terminal import say, say_rows
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.printing import printable
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table

_SHOWN = 12  # lines of one kind; the rest is counted
_NAMED = 2  # reasons of a step
Row = tuple[str, str]


def status(
    surveys: Annotated[
        list[str] | None, typer.Argument(help="names of surveys; all enabled ones when not given")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="name every table that is outdated, with the reason")
    ] = False,
) -> None:
    """Say how far surveys are.

    It prints the deliveries, what the search found and what people scored, the steps with outdated tables and why,
    which deliveries have drifted, and which survey files are broken.

    Example: galaxy-assets status sdss_gz1
    """
    from galaxy_assets.definitions import build_defs

    layout = Layout.default()
    files, chosen = survey_files(layout.root), chosen_surveys(surveys, layout.root)
    was_run = [survey for survey in chosen if (layout.lake / survey.name).is_dir() and survey.name in files.enabled]
    if was_run:
        graph = build_defs(layout.root).resolve_asset_graph()
        gc.freeze()  # the graph is a million objects that stay, which every collection would look at again
        gc.disable()  # and nothing that the question makes refers to itself
        try:
            for survey in was_run:
                _say_how_far(survey, layout, graph, everything)
        finally:
            gc.enable()
            gc.unfreeze()  # else libraries complain at the end of objects that were never given back
    elif not surveys:
        first = next(iter(files.enabled), "demo_optical")
        say(
            f"nothing was run yet in {layout.root} (GALAXY_ASSETS_DATA, else ./data); "
            f"`galaxy-assets run {first}` makes a first survey"
        )
    for survey in (survey for survey in chosen if survey not in was_run):
        say(f"\n{printable(survey.title)} ({survey.name}) was never run; `galaxy-assets run {survey.name}`")
    if not surveys:
        say_broken(files)


def _say_how_far(survey: Survey, layout: Layout, graph: Any, everything: bool) -> None:
    ledger = _ledger(survey, layout)
    made = {path.stem for path in (layout.lake / survey.name / "catalogue").glob("[!.]*.parquet")}
    batches = sorted(made | {r["delivery"] for r in ledger if r["state"] == "whole"})
    how_far, steps = _steps(survey, layout, graph, batches, everything)
    say(f"\n{printable(survey.title)} ({survey.name}): {how_far}")
    rows = [*_deliveries(survey, ledger), *_found(survey, layout)]
    if words := people_said(survey, layout):
        rows.append(("scores", printable(words)))
    rows += [*steps, *_drift(survey, layout), *(("look", words) for words in said_aloud(survey, layout))]
    say_rows(rows)


def said_aloud(survey: Survey, layout: Layout) -> list[str]:
    """What a person must see of a survey that was run; `run` prints it too."""
    from galaxy_assets.orchestration import checks
    from galaxy_assets.orchestration.verdicts import Stored

    return checks.said_aloud(Stored(survey, layout))


def people_said(survey: Survey, layout: Layout) -> str:
    """How many galaxies people have scored, and what the search did with it; empty where there are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from galaxy_assets.science.labels import standing, what_people_scored
    from galaxy_assets.storage.label_events import EVENTS, LabelLog

    events, model, ranking = (
        layout.table(survey.name, asset) for asset in ("label_events", "anomaly_model", "anomaly_ranking")
    )
    columns = {"role": pa.string(), "galaxy_id": pa.string(), "score": pa.float64()}
    learnt = read_table(model, list(columns)) if model.exists() else pa.schema(columns).empty_table()
    return what_people_scored(
        standing(LabelLog(layout.labels(survey.name)).read()),
        standing(read_table(events) if events.exists() else EVENTS.empty_table()),
        learnt.filter(pc.equal(learnt["role"], "labelled")),
        read_table(ranking, ["galaxy_id", "score_std"]) if ranking.exists() else None,
    )


def _ledger(survey: Survey, layout: Layout) -> list[dict[str, Any]]:
    path = layout.table(survey.name, "deliveries")
    return read_table(path).to_pylist() if path.exists() else []


def _deliveries(survey: Survey, ledger: list[dict[str, Any]]) -> list[Row]:
    states = [row["state"] for row in ledger]
    counts = [f"{states.count(state):,} {state}" for state in ("whole", "arriving", "held", "gone") if state in states]
    open_ones = [row for row in ledger if row["state"] in ("arriving", "held")]
    lines = [f"{row['delivery']} is {row['state']}: {row['reason']}" for row in open_ones]
    return [("deliveries", ", ".join(counts) or "none seen yet"), *_first(lines, f"{survey.name}.deliveries")]


def _first(lines: list[str], table: str, name: str = "") -> list[Row]:
    """The first lines under a name, and how many more there are."""
    rows = [(name if i == 0 else "", line) for i, line in enumerate(lines[:_SHOWN])]
    if (more := len(lines) - _SHOWN) > 0:
        rows.append(("", f"and {more:,} more; `galaxy-assets query` has all in {table}"))
    return rows


def _found(survey: Survey, layout: Layout) -> list[Row]:
    from galaxy_assets.science.search_spread import words

    path = layout.table(survey.name, "search_spread")
    found = words(read_table(path), survey.anomaly.name) if path.exists() else ""
    return [(name, printable(part)) for name, part in zip(("search", ""), found.split("; "), strict=False) if part]


def _steps(survey: Survey, layout: Layout, graph: Any, batches: list[str], everything: bool) -> tuple[str, list[Row]]:
    """How many tables are up to date, and of each step with others how many it has and why they are to be made."""
    from galaxy_assets.orchestration.automation.outdated import Outdated
    from galaxy_assets.orchestration.graph import keys_of, steps_of_assets

    rule = Outdated(graph, survey, survey_files(layout.root).known, layout, batches)
    tables = [(key, partition) for key in keys_of(graph, survey.name) for partition in rule.partitions(key)]
    outdated = [(key, partition, why) for key, partition in tables if (why := rule.why(key, partition))]
    if not outdated:
        return f"all {len(tables):,} tables are up to date", []
    step_of = steps_of_assets()
    totals = Counter(step_of[key.path[-1]] for key, _ in tables)
    reasons: dict[str, list[tuple[str, str]]] = {step: [] for step in step_of.values()}
    for key, partition, why in outdated:
        reasons[step_of[key.path[-1]]].append(("/".join([key.path[-1], *partition]), why))
    stopped = dict.fromkeys(why for key, partition, _ in outdated if (why := rule.stopped(key, partition)))
    rows = [row for step, found in reasons.items() if found for row in _step(step, totals[step], found, everything)]
    makes = f"`galaxy-assets run {survey.name}` makes the others"
    how_far = f"{len(tables) - len(outdated):,} of {len(tables):,} tables are up to date; {makes}"
    return how_far, [*rows, *(("blocked", reason) for reason in stopped)]


def _step(step: str, total: int, outdated: list[tuple[str, str]], everything: bool) -> list[Row]:
    lines = [f"{table}: {why}" for table, why in outdated] if everything else [_why(outdated)]
    first = (step, f"{total - len(outdated):,} of {total:,} up to date; {lines[0]}")
    return [first, *(("", line) for line in lines[1:])]


def _why(outdated: list[tuple[str, str]]) -> str:
    """The most frequent reasons, each with its first table."""
    tables: dict[str, list[str]] = {}
    for table, why in outdated:
        tables.setdefault(why, []).append(table)
    frequent = sorted(tables.items(), key=lambda one: -len(one[1]))
    named = [
        f"{of[0]}: {why}" if len(of) == 1 else f"{of[0]} and {len(of) - 1:,} more: {why}"
        for why, of in frequent[:_NAMED]
    ]
    others = len(frequent) - _NAMED
    return "; ".join(named) + (f"; {others} more reasons (--all)" if others > 0 else "")


def _drift(survey: Survey, layout: Layout) -> list[Row]:
    lines = []
    for path in sorted((layout.lake / survey.name / "batch_drift").glob("[!.]*.parquet")):
        if over := [row for row in read_table(path).to_pylist() if row["exceeded"]]:
            found = ", ".join(f"{row['words']} {row['value']:.2f} (limit {row['limit']:.2f})" for row in over)
            lines.append(f"{path.stem}: {found}; `galaxy-assets run {survey.name} --retrain`")
    return _first(lines, f"{survey.name}.batch_drift", "drift")
