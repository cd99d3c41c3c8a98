"""The file of a new survey: its name, and the YAML in which every value has its reason as a comment.

Belongs here: writing the file, once. Does not belong here: which settings it has (`propose`).
"""

import textwrap
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from galaxy_assets.deliveries.onboarding.inspect import Inspection
from galaxy_assets.deliveries.onboarding.labels import Labels
from galaxy_assets.deliveries.onboarding.propose import Setting
from galaxy_assets.deliveries.onboarding.report import cautions, table_of
from galaxy_assets.settings.files import SurveyError, read_survey, survey_files
from galaxy_assets.settings.printing import printable
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import replacing


def refuse_name(name: str, root: Path) -> None:
    """Check that a new survey can have a name.

    Parameters
    ----------
    name : str
        The name wanted.
    root : Path
        The data folder.

    Raises
    ------
    SurveyError
        Where it is taken or not allowed.
    """
    probe = {"name": name, "title": "", "description": "", "source": {"reader": "image_folder", "path": "."}}
    try:
        Survey.model_validate(probe)
    except ValidationError as error:
        raise SurveyError(
            f"{name!r} cannot name a survey: {error.errors()[0]['msg']}; take lower-case letters, digits and _, a "
            "letter first"
        ) from error
    _refuse_existing(root / "surveys" / f"{name}.yaml")
    if name in survey_files(root).known:
        raise SurveyError(f"there is a survey {name!r} already, see `galaxy-assets survey list`; choose another name")


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise SurveyError(f"{path} exists and is not overwritten; choose another name, or edit or delete that file")


def write_survey(path: Path, settings: list[Setting], found: Inspection, labels: Labels | None) -> Survey:
    """Write a survey file in which every value has its reason as a comment, whole or not at all.

    Parameters
    ----------
    path : Path
        File to write; must be absent.
    settings : list of Setting
        As `propose.settings_for` makes them.
    found : Inspection
        What was measured.
    labels : Labels or None
        What a table says of the images, if there is one.

    Returns
    -------
    Survey
        As it is read from the file.

    Raises
    ------
    SurveyError
        Where the file exists or what was proposed is no survey.
    """
    _refuse_existing(path)
    with replacing(path) as partial:
        partial.write_text(as_yaml(settings, found, labels), encoding="utf-8")
        return read_survey(partial)


def as_yaml(settings: list[Setting], found: Inspection, labels: Labels | None) -> str:
    """The settings as YAML, a comment above each that says why.

    Parameters
    ----------
    settings : list of Setting
        As `propose.settings_for` makes them.
    found : Inspection
        What was measured.
    labels : Labels or None
        What a table says of the images, if there is one.

    Returns
    -------
    str
    """
    lines = ["# Proposed by `galaxy-assets survey new` from what is in the folder; edit what you know better.", "#"]
    for heading, text in table_of(found):
        lines += _comment(f"{heading:16s}{text}", indent="", hanging=16)
    for caution in cautions(found, labels):
        lines += ["#", *_comment(caution, indent="")]
    section = ""
    for key, value, reason in settings:
        head, _, tail = key.rpartition(".")
        if head != section and head:
            lines.append(f"{head}:")
        section = head
        indent = "  " if head else ""
        lines += _comment(reason, indent)
        lines += _value(tail, value, indent)
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str, hanging: int = 0) -> list[str]:
    prefix = f"{indent}# "
    return textwrap.wrap(  # an address stays whole, however long
        printable(text),
        116,
        initial_indent=prefix,
        subsequent_indent=prefix + " " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _value(key: str, value: Any, indent: str) -> list[str]:
    def flow(one: Any) -> str:
        for unicode in (True, False):  # what cannot be printed, line breaks of Unicode among it, is escaped
            text = yaml.safe_dump(one, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=unicode)
            text = text.removesuffix("\n...\n").strip()
            if text.isprintable():
                break
        return text

    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [f"{indent}{key}:", *(f"{indent}  - {flow(one)}" for one in value)]
    return [f"{indent}{key}: {flow(value)}"]
