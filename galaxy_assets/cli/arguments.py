"""What arguments of several commands mean.

Belongs here: from what a person typed to the object meant. Does not belong here: any command.
"""

from datetime import UTC, datetime

import typer

from galaxy_assets.settings.survey import Survey, SurveyError, load_surveys


def chosen_surveys(names: list[str] | None) -> list[Survey]:
    """The surveys of these names, all by name where none is given; an unknown one ends the command."""
    try:
        known = load_surveys()
    except SurveyError as error:
        raise typer.BadParameter(str(error)) from error
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise typer.BadParameter(f"no survey {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return [known[name] for name in names or sorted(known)]


def moment(text: str | None) -> datetime | None:
    """A time in ISO 8601, in UTC where it names no zone. Raises typer.BadParameter for any other text."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is not a time in ISO 8601, for instance 2026-01-31T12:00") from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
