"""`figures`: one page of every figure, table and number that surveys have.

Belongs here: what the page takes from the lake. Does not belong here: how it looks (`figures.page`).
"""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from galaxy_assets.cli.arguments import chosen_surveys
from galaxy_assets.cli.terminal import say
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import read_table


def figures(
    surveys: Annotated[list[str] | None, typer.Argument(help="names of surveys; all enabled ones when none")] = None,
) -> None:
    """Write one page of every figure, table and number that surveys have: data/figures/index.html.

    It shows what the lake holds; `run` makes it.

    Example: galaxy-assets figures sdss_gz1 mirabest
    """
    layout = Layout.default()
    path = write_figures_page(chosen_surveys(surveys, layout.root), layout)
    if path is None:
        say("no figures yet; run a survey first, for instance `galaxy-assets demo`")
        raise typer.Exit(1)
    say(path.as_uri())


def write_figures_page(surveys: list[Survey], layout: Layout) -> Path | None:
    """Write the page of the surveys that have figures, whole or not at all.

    Parameters
    ----------
    surveys : list of Survey
        In the order of the page.
    layout : Layout
        The data folder.

    Returns
    -------
    Path or None
        The page; None where no survey has a figure.
    """
    from galaxy_assets.figures.page import FigureEntry, SurveyEntry, page

    target = layout.figures_page

    def entry(survey: Survey, note_file: Path) -> FigureEntry:
        note = json.loads(note_file.read_text(encoding="utf-8"))
        drawn = note.pop("drawn")
        links = {"picture": ".png", "print": ".pdf"} if drawn else {}
        for name, suffix in links.items():
            store_of(note_file).local(note_file.with_suffix(suffix))
            note[name] = Path(os.path.relpath(note_file.with_suffix(suffix), target.parent)).as_posix()
        table = layout.table(survey.name, note["name"])
        rows = read_table(table).to_pylist() if not drawn and table.exists() else []
        return FigureEntry(**note, rows=rows)

    entries = []
    for survey in surveys:
        notes = sorted(layout.figure(survey.name, "x").parent.glob("[!.]*.json"))
        if notes:
            results = layout.table(survey.name, "results")
            rows = read_table(results).to_pylist() if results.exists() else []
            shown = [entry(survey, note) for note in notes]
            entries.append(SurveyEntry(survey.name, survey.title, survey.description, shown, rows))
    if not entries:
        return None
    with replacing(target) as partial:
        partial.write_text(page(entries), encoding="utf-8")
    return target
