"""The summary at the end of a run: for each survey a short table, the numbers that matter first.

Belongs here: which numbers, and their words. Does not belong here: the numbers themselves, which are tables of the
survey.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from galaxy_assets.cli.status import people_said, said_aloud
from galaxy_assets.cli.terminal import say, say_rows
from galaxy_assets.settings.printing import printable
from galaxy_assets.settings.recipe import MIDDLE, PYRAMID, START
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout

_NAMED = 3  # rules, clusters and start weights that are named
_WORDS = 40  # letters of a cluster's description
_UNSHOWN = 100  # galaxies that nobody scored, in which those found are counted
_WITHOUT = {
    "byol": "the start",
    "pretrained": "the ImageNet network",
    "untrained": "an untrained network",
    "pixels": "the raw pixels",
}
"""Of `epoch_accuracy.features`, what is to be had without training, in words"""
Ask = Callable[[str], list[tuple[Any, ...]]]
"""Asks the lake in SQL; no rows where the table is absent."""


def say_summary(surveys: list[Survey], failed: int, aloud: Mapping[str, list[str]]) -> None:
    """Print what was found.

    Parameters
    ----------
    surveys : list of Survey
        That were run.
    failed : int
        Steps that failed.
    aloud : mapping of str to list of str
        What the loud checks of a survey found, where they were asked.
    """
    layout = Layout.default()
    if failed:
        steps = "1 step" if failed == 1 else f"{failed} steps"
        say(f"\n{steps} failed, see above; numbers that rest on them are from an earlier run or absent")
    for survey in surveys:
        _say_survey(survey, layout)
        for words in aloud[survey.name] if survey.name in aloud else said_aloud(survey, layout):
            say(f"  ! {words}")
    _say_where_to_look(surveys, layout)


def _say_survey(survey: Survey, layout: Layout) -> None:
    if not layout.table(survey.name, "results").exists():
        say(f"\n{printable(survey.title)}: not finished, no results yet")
    elif not layout.read_model.exists():
        say(f"\n{printable(survey.title)}: {layout.read_model} was not written, see above")
    else:
        say(f"\n{printable(survey.title)}: what was found")
        say_rows(found(survey, layout))


def found(survey: Survey, layout: Layout) -> list[tuple[str, str]]:
    """What was found in a survey, each with the word for what it is about.

    Parameters
    ----------
    survey : Survey
    layout : Layout
        The data folder.

    Returns
    -------
    list of (str, str)
        Without what the survey has no tables for.
    """
    import duckdb

    from galaxy_assets.lake import connect
    from galaxy_assets.orchestration.verdicts import Stored

    with connect(layout.root) as lake:

        def ask(sql: str) -> list[tuple[Any, ...]]:
            try:
                return lake.execute(sql.replace("SURVEY.", f'"{survey.name}".')).fetchall()
            except duckdb.Error:  # the table is not there, is of an older release or damaged, which `check` tells
                return []

        observed = dict(ask("select check_id, observed from SURVEY.results"))
        rows = [
            ("images", _images(ask)),
            ("search", _search(ask, survey, Stored(survey, layout).measured("anomaly_recall"))),
            ("scores", [people_said(survey, layout)]),
            ("clusters", _clusters(ask, survey)),
            ("training", _training(ask, observed, survey)),
            ("other starts", _other_starts(observed, survey)),
            ("the paper", _paper(ask, survey)),
        ]
    return [(name if i == 0 else "", words) for name, lines in rows for i, words in enumerate(filter(None, lines))]


def _images(ask: Ask) -> list[str]:
    from galaxy_assets.science.cutouts import WITHOUT_PIXELS

    counts = ask("select kept, rule, count(*) from SURVEY.clean_galaxies group by all order by 3 desc, 2")
    kept = sum(n for keep, _, n in counts if keep)
    without = [(rule, n) for keep, rule, n in counts if not keep and rule in WITHOUT_PIXELS]
    removed = [(rule, n) for keep, rule, n in counts if not keep and rule not in WITHOUT_PIXELS]
    delivered = sum(n for *_, n in counts)
    if not counts:
        return []
    return [
        f"{delivered:,} in, {kept:,} kept",
        f"{_counted(removed, 'removed')}, {_counted(without, 'without a cutout')}",
    ]


def _counted(counts: list[tuple[str, int]], what: str) -> str:
    """How many, and the most frequent reasons where there are some."""
    named = ", ".join(f"{rule} {n:,}" for rule, n in counts[:_NAMED]) + (", ..." if len(counts) > _NAMED else "")
    return f"{sum(n for _, n in counts):,} {what}" + (f" ({named})" if counts else "")


def _search(ask: Ask, survey: Survey, measured: Mapping[str, float]) -> list[str]:
    """What the questions met, beside what as many looks at other lists would have met; then what comes unasked."""
    from galaxy_assets.orchestration.assets.recall import MET, QUESTIONS

    sizes = ask("select count(found_unshown), max(found) from SURVEY.anomaly_recall")
    unshown, true = sizes[0] if sizes else (0, 0)
    asked, met = int(measured.get(QUESTIONS, 0)), int(measured.get(MET, 0))
    if not true or not asked:
        return []
    first, name = min(unshown, _UNSHOWN), survey.anomaly.name
    recall = dict(ask(f"select rank, found_unshown from SURVEY.anomaly_recall where rank = {first}"))
    beside = ask(f"select isolation_forest, random from SURVEY.anomaly_recall where rank = {asked}")
    lines = [f"{met:,} of {true:,} {name} met in {asked:,} questions"]
    for forest, random in beside:  # none where fewer galaxies are known than were asked of before
        others = f"of an isolation forest hold {forest:,}, of a random order {random:,.0f}"
        more = f"{met - forest:,}" if met > forest else "none"
        lines.append(f"(the first {asked:,} {others}): asking meets {more} more")
    return [
        *lines,
        f"{recall[first]:,} more in the first {first:,} that nobody scored" if first else "",
    ]


def _clusters(ask: Ask, survey: Survey) -> list[str]:
    rows = ask(
        "select n, description, artefact, accuracy_overall from SURVEY.cluster_summary "
        f"where init = '{survey.main_start_weights}' and n > 0 order by n desc, cluster"
    )
    if not rows:
        return []
    artefacts = sum(bool(artefact) for _, _, artefact, _ in rows)
    known = [accuracy for *_, accuracy in rows[:1] if accuracy is not None and accuracy == accuracy]
    right = "".join(f"; their labels are right for {accuracy:.0%}" for accuracy in known)
    largest = [f"{n:,} {_short(description)}" for n, description, *_ in rows[:_NAMED]]
    if len(largest) > 1 and len({description for _, description, *_ in rows}) == 1:
        largest = [f"the largest {', '.join(f'{n:,}' for n, *_ in rows[:_NAMED])}; all: {_short(rows[0][1])}"]
    return [f"{len(rows)} with members, {artefacts} of artefacts{right}", *largest]


def _short(description: str | None) -> str:
    words = printable(description or "not described")
    return words if len(words) <= _WORDS else f"{words[: _WORDS - 3]}..."


def _training(ask: Ask, observed: Mapping[str, float | None], survey: Survey) -> list[str]:
    """Which epoch of the main start weights is used, and what training brought."""
    from galaxy_assets.orchestration.training_ledger import epoch_used, meant_to_train

    main = survey.main_start_weights
    chosen = ask(f"select epoch, reason from SURVEY.byol_checkpoints where init = '{main}' and chosen")
    if not chosen:
        return []
    row: dict[str, Any] = dict(zip(("epoch", "reason"), chosen[0], strict=True))
    epochs = survey.recipe.epochs
    what = f"epoch {row['epoch']} of {epochs} is" if row["epoch"] <= epochs else "features side by side are"
    used = f"{main}: {what} used"
    trained, start, pixels = (observed.get(f"E7:{name}") for name in (main, f"{main}:start", "pixels"))
    if trained is None or start is None:
        return [used, _short(row["reason"])]
    beside = "" if pixels is None else f", of the pixels alone {pixels:.3f}"
    numbers = f"k-NN accuracy {trained:.3f}, before training {start:.3f}{beside}"
    if epoch_used(row):
        return [used, numbers, _gained(ask, survey)]
    nothing = "training gains nothing here" if meant_to_train(row, survey.recipe) else "nothing is trained here"
    others = _beside(survey)
    return [used, numbers, f"the start itself is used{f' beside {others}' if others else ''}: {nothing}"]


def _beside(survey: Survey) -> str:
    """The features that stand beside the main start weights' own, none of which is training's doing."""
    others = [name for name in survey.recipe.beside if name not in (START, survey.main_start_weights)]
    own = {MIDDLE: "the start's middle block", PYRAMID: "the start's middle block over places"}
    return " and ".join(own.get(name, name) for name in others)


def _gained(ask: Ask, survey: Survey) -> str:
    """What training brought, with what stands beside it, beyond the best to be had without, beside chance's share."""
    import numpy as np

    from galaxy_assets.science.neighbours import difference_by_chance

    judged: dict[str, list[float]] = {}
    for features, chosen, accuracy in ask(
        "select features, chosen, accuracy from SURVEY.epoch_accuracy "
        f"where init = '{survey.main_start_weights}' and (chosen or epoch = 0) order by epoch, features, split"
    ):
        judged.setdefault("trained" if chosen else features, []).append(accuracy)
    trained = judged.pop("trained", [])
    without = {kind: accuracies for kind, accuracies in judged.items() if len(accuracies) == len(trained)}
    if not without:
        return ""
    # of equals the start, the first here, is the one to name
    mean = {kind: fmean(without[kind]) for kind in _WITHOUT if kind in without}
    best = max(mean, key=lambda kind: mean[kind])
    gain, test = 100 * (fmean(trained) - mean[best]), survey.evaluation.test_fraction
    chance = 100 * difference_by_chance(np.array(trained), np.array(without[best]), test_fraction=test)
    beside = f"{gain:+.1f} points beside {_WITHOUT[best]} ({mean[best]:.3f}), by chance up to {chance:.1f}"
    others = _beside(survey)
    who, s = (f"training and what stands beside it ({others}) together", "") if others else ("training", "s")
    if gain > chance:
        return f"{who} gain{s} here: {beside}"
    return f"{who} {f'lose{s}' if gain < -chance else f'gain{s} nothing sure'} here: {beside}"


def _other_starts(observed: Mapping[str, float | None], survey: Survey) -> list[str]:
    accuracies = {init: observed.get(f"E7:{init}") for init in survey.starts_main_first[1:]}
    others = [(value, init) for init, value in accuracies.items() if value is not None]
    return [", ".join(f"{init}: k-NN accuracy {value:.3f}" for value, init in sorted(others, reverse=True)[:_NAMED])]


def _paper(ask: Ask, survey: Survey) -> list[str]:
    """How many of the paper's numbers agree, of a survey that the paper has."""
    from galaxy_assets.science.results import AGREES, DIFFERS, NOT_COMPARABLE, NOT_OBSERVED

    said = {AGREES: "agree", DIFFERS: "differ", NOT_OBSERVED: NOT_OBSERVED, NOT_COMPARABLE: NOT_COMPARABLE}
    counts = dict(ask("select verdict, count(*) from SURVEY.results group by all"))
    told = ", ".join(f"{counts[verdict]} {words}" for verdict, words in said.items() if verdict in counts)
    return [f"of its numbers and settings {told} ({survey.name}.results)"] if told else []


def _has_map(survey: Survey, layout: Layout) -> bool:
    return any((layout.lake / survey.name / "umap").rglob("[!.]*.parquet"))


def _say_where_to_look(surveys: list[Survey], layout: Layout) -> None:
    ranked = [survey for survey in surveys if layout.table(survey.name, "anomaly_ranking").exists()]
    rows = [("the galaxies", "galaxy-assets explore")] if any(_has_map(survey, layout) for survey in surveys) else []
    drawn = [survey.name for survey in surveys if layout.figure(survey.name, "x").parent.is_dir()]
    if drawn:
        page: Path = layout.figure(drawn[0], "x").parent
        rows.append(("figures", f"galaxy-assets figures {' '.join(drawn)}, or the files in {page}"))
    if ranked:
        sql = f"select * from {ranked[0].name}.anomaly_ranking order by rank"
        rows.append(("the ranking", f'galaxy-assets query "{sql}" --limit 20'))
    rows.append(("the runs", "galaxy-assets dev, then http://127.0.0.1:3000"))
    say("\nLook next at")
    say_rows(rows)
