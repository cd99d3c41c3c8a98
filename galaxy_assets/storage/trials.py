"""What trials chose for a survey, and the rows of trials that are not finished.

Belongs here: reading the table `recipe_trials`, and the file from which stopped trials go on. Does not belong here: the
trials (`science.trials`), which settings are open (`settings.tuning`).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from galaxy_assets.settings.survey import Survey
from galaxy_assets.settings.tuning import with_choice
from galaxy_assets.storage.files import DamagedFile, replacing
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import damaged_otherwise
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import read_table

TRIALS = "recipe_trials"
"""Name of the asset and of its table."""


def document_of_trials(layout: Layout, survey: str) -> Path:
    """The file, beside the contact sheet, of the lines that take another row of the trials.

    Parameters
    ----------
    layout : Layout
        The data folder.
    survey : str
        Name of the survey.

    Returns
    -------
    Path
    """
    return layout.figure(survey, TRIALS).with_suffix(".md")


def as_chosen(survey: Survey, recipe_trials: pa.Table) -> Survey:
    """A survey with the choice of its trials in place of `auto`.

    Parameters
    ----------
    survey : Survey
    recipe_trials : pyarrow.Table
        Its table.

    Returns
    -------
    Survey
    """
    (chosen,) = recipe_trials.filter(recipe_trials["chosen"])["settings"].to_pylist()
    return with_choice(survey, json.loads(chosen))


def in_force(layout: Layout, survey: Survey) -> Survey:
    """A survey as its images are cut and embedded: itself, or with the choice of its trials.

    Parameters
    ----------
    layout : Layout
        The data folder.
    survey : Survey

    Returns
    -------
    Survey

    Raises
    ------
    FileNotFoundError
        Where it leaves something to trials that were not made, or not of what is set today.
    """
    if not survey.auto:
        return survey
    path, remedy = layout.table(survey.name, TRIALS), f"`galaxy-assets run {survey.name}` makes it"
    if not path.exists():
        said = f"{survey.name} is not finished: no {TRIALS}, which choose {', '.join(survey.auto)}; {remedy}"
        raise FileNotFoundError(said)
    try:
        return as_chosen(survey, read_table(path))
    except ValidationError as error:
        said = f"{survey.name} is not finished: what {TRIALS} chose does not go with what is set today; {remedy} anew"
        raise FileNotFoundError(said) from error


@dataclass(frozen=True)
class TrialRows:
    """Rows of candidates that were measured already, kept from one start of the trials to the next.

    Parameters
    ----------
    path : Path
        File of them; its name has the fingerprint of all that decides a row.
    """

    path: Path

    def rows(self) -> dict[str, dict[str, Any]]:
        """Candidate -> its row; empty where none was measured, or the file is damaged."""
        if not self.path.exists():
            return {}
        try:
            with damaged_otherwise(self.path):
                return dict(json.loads(self.path.read_text(encoding="utf-8")))
        except DamagedFile:
            return {}

    def record(self, candidate: str, row: dict[str, Any]) -> None:
        """Keep a candidate's row."""
        with replacing(self.path) as partial:
            partial.write_text(json.dumps(self.rows() | {candidate: row}), encoding="utf-8")

    def remove(self) -> None:
        """Forget all rows: their table is made."""
        store_of(self.path).remove(self.path)
