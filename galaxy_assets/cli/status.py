"""`status`: how far the surveys are, and what would be made now and why.

Belongs here: what is printed. Does not belong here: the rule (`orchestration.automation.outdated`), the ledger
(`orchestration.automation.deliveries`).
"""

import gc
from typing import Annotated, Any

import typer

from galaxy_assets.cli.arguments import chosen_surveys
from galaxy_assets.cli.survey import say_broken
from galaxy_assets.cli.terminal import say
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.printing import printable
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table

_SHOWN = 12  # lines of what is outdated; the rest is counted


def status(
    surveys: Annotated[
        list[str] | None, typer.Argument(help="names of surveys; all enabled ones when not given")
    ] = None,
) -> None:
    """Say how far surveys are.

    It prints the deliveries, what the search found and what people scored, what is outdated and why, which deliveries
    have drifted, and which survey files are broken.

    Example: galaxy-assets status sdss_gz1
    """
    from galaxy_assets.definitions import build_defs

    layout = Layout.default()
    files, chosen = survey_files(layout.root), chosen_surveys(surveys, layout.root)
    was_run = [survey for survey in chosen if (layout.lake / survey.name).is_dir() and survey.name in files.enabled]
    if was_run:
        graph = build_defs(layout.root).resolve_asset_graph()
        gc.freeze()  # the graph is a million objects that stay, which every collection would look at again
        for survey in was_run:
            _say_how_far(survey, layout, graph)
    elif not surveys:
        say("nothing was run yet; `galaxy-assets run demo_optical` makes a first survey")
    for survey in (survey for survey in chosen if survey not in was_run):
        say(f"\n{printable(survey.title)} ({survey.name}) was never run; `galaxy-assets run {survey.name}`")
    if not surveys:
        say_broken(files)


def _say_how_far(survey: Survey, layout: Layout, graph: Any) -> None:
    say(f"\n{printable(survey.title)} ({survey.name})")
    rows = _ledger(survey, layout)
    _say_deliveries(survey, rows)
    _say_found(survey, layout)
    if words := people_said(survey, layout):
        say(f"  scores      {printable(words)}")
    made = {path.stem for path in (layout.lake / survey.name / "catalogue").glob("[!.]*.parquet")}
    _say_outdated(survey, layout, graph, sorted(made | {r["delivery"] for r in rows if r["state"] == "whole"}))
    _say_drift(survey, layout)
    for words in said_aloud(survey, layout):
        say(f"  look        {words}")


def said_aloud(survey: Survey, layout: Layout) -> list[str]:
    """What a person must see of a survey that was run; `run` prints it too."""
    from galaxy_assets.orchestration import checks
    from galaxy_assets.orchestration.verdicts import Stored

    return checks.said_aloud(Stored(survey, layout))


def people_said(survey: Survey, layout: Layout) -> str:
    """How many galaxies people have scored, and what the search did with it; empty where there are none."""
    from galaxy_assets.science.labels import standing, what_people_scored
    from galaxy_assets.storage.label_events import EVENTS, LabelLog

    events, ranking = (layout.table(survey.name, asset) for asset in ("label_events", "anomaly_ranking"))
    return what_people_scored(
        standing(LabelLog(layout.labels(survey.name)).read()),
        standing(read_table(events) if events.exists() else EVENTS.empty_table()),
        read_table(ranking, ["galaxy_id", "score_std"]) if ranking.exists() else None,
    )


def _ledger(survey: Survey, layout: Layout) -> list[dict[str, Any]]:
    path = layout.table(survey.name, "deliveries")
    return read_table(path).to_pylist() if path.exists() else []


def _say_deliveries(survey: Survey, rows: list[dict[str, Any]]) -> None:
    states = [row["state"] for row in rows]
    counts = [f"{states.count(state)} {state}" for state in ("whole", "arriving", "held", "gone") if state in states]
    say(f"  deliveries  {', '.join(counts) or 'none seen yet'}")
    open_ones = [row for row in rows if row["state"] in ("arriving", "held")]
    for row in open_ones[:_SHOWN]:
        say(f"      {row['delivery']} is {row['state']}: {row['reason']}")
    if len(open_ones) > _SHOWN:
        say(f"      and {len(open_ones) - _SHOWN} more; `galaxy-assets query` has all in {survey.name}.deliveries")


def _say_found(survey: Survey, layout: Layout) -> None:
    from galaxy_assets.science.search_spread import words

    path = layout.table(survey.name, "search_spread")
    if path.exists() and (found := words(read_table(path), survey.anomaly.name)):
        say(f"  search      {printable(found)}")


def _say_outdated(survey: Survey, layout: Layout, graph: Any, batches: list[str]) -> None:
    from galaxy_assets.orchestration.automation.outdated import Outdated
    from galaxy_assets.orchestration.graph import keys_of

    rule = Outdated(graph, survey, survey_files(layout.root).known, layout, batches)
    keys = keys_of(graph, survey.name)
    tables = [(key, partition) for key in keys for partition in rule.partitions(key)]
    outdated = [(key, partition, why) for key, partition in tables if (why := rule.why(key, partition))]
    say(f"  tables      {len(tables) - len(outdated)} of {len(tables)} are up to date")
    for key, partition, why in outdated[:_SHOWN]:
        say(f"      {'/'.join([key.path[-1], *partition])}: {why}")
    stopped = {reason: None for key, partition, _ in outdated if (reason := rule.stopped(key, partition))}
    for reason in stopped:
        say(f"  blocked     {reason}")
    if len(outdated) > _SHOWN:
        say(f"      and {len(outdated) - _SHOWN} more; `galaxy-assets run {survey.name}` makes them")


def _say_drift(survey: Survey, layout: Layout) -> None:
    told = 0
    for path in sorted((layout.lake / survey.name / "batch_drift").glob("[!.]*.parquet")):
        over = [row for row in read_table(path).to_pylist() if row["exceeded"]]
        told += bool(over)
        if over and told <= _SHOWN:
            found = ", ".join(f"{row['words']} {row['value']:.2f} (limit {row['limit']:.2f})" for row in over)
            say(f"  drift       {path.stem}: {found}; `galaxy-assets run {survey.name} --retrain`")
    if told > _SHOWN:
        say(f"      and {told - _SHOWN} more; `galaxy-assets query` has all in {survey.name}.batch_drift")
