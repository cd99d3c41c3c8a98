"""What arguments of several commands mean."""

import typer

from galaxy_assets.surveys.model import Survey, SurveyError, load_surveys


def chosen_surveys(names: list[str]) -> list[Survey]:
    """The surveys of these names; an unknown name ends the command and lists the known ones."""
    try:
        known = load_surveys()
    except SurveyError as error:
        raise typer.BadParameter(str(error)) from error
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(f"no survey {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return [known[name] for name in names]
