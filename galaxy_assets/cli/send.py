"""`send`: what was found, to TOPCAT, Aladin, DS9 and other programs on this machine, by SAMP.

Belongs here: a sub-command for each kind of thing that is sent, and the printed answer. Does not belong here: what is
sent (`galaxy_assets.lake.sending`), the messages (`galaxy_assets.lake.samp`).
"""

from typing import Annotated

import typer

from galaxy_assets.cli.terminal import say
from galaxy_assets.lake.export import What
from galaxy_assets.lake.samp import Answer
from galaxy_assets.lake.sending import send_galaxies, send_rows
from galaxy_assets.settings.printing import count_of

app = typer.Typer(no_args_is_help=True, help="Send what was found to TOPCAT, Aladin or DS9 on this machine, by SAMP.")

SurveyName = Annotated[str, typer.Argument(metavar="SURVEY", help="name of a survey that was run")]
To = Annotated[str | None, typer.Option(help="part of a program's name, such as topcat; all that can load it")]
First = Annotated[int | None, typer.Option(min=1, help="rows at most")]
Init = Annotated[str | None, typer.Option(help="start weights; the survey's main ones when not given")]


@app.command()
def ranking(survey: SurveyName, first: First = None, to: To = None) -> None:
    """Send the ranking as a table, with positions.

    Example: galaxy-assets send ranking sdss_gz1 --first 200 --to topcat
    """
    _send_rows("ranking", survey, to, first=first)


@app.command()
def cluster(
    survey: SurveyName,
    cluster: Annotated[int, typer.Option(min=0, help="its number")],
    first: First = None,
    init: Init = None,
    to: To = None,
) -> None:
    """Send the members of a cluster as a table, the most probable ones first.

    Example: galaxy-assets send cluster sdss_gz1 --cluster 3 --to topcat
    """
    _send_rows("cluster", survey, to, cluster=cluster, first=first, init=init)


@app.command()
def image(
    survey: SurveyName,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="galaxies of the survey")],
    to: To = None,
) -> None:
    """Send galaxies as FITS images: the original where it was delivered as FITS, else the cutout.

    Example: galaxy-assets send image sdss_gz1 587722981741363294 --to ds9
    """
    try:
        answers = send_galaxies(survey, ids, to=to)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    _report(count_of(len(ids), "image"), answers)


def _send_rows(what: What, survey: str, to: str | None, **asked: int | str | None) -> None:
    try:
        n, answers = send_rows(what, survey, to=to, **asked)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    _report(count_of(n, "galaxy"), answers)


def _report(sent: str, answers: list[Answer]) -> None:
    """Say who loaded how much of it; the exit code is 1 where nobody loaded all."""
    answered: dict[str, list[str]] = {}
    for answer in answers:
        answered.setdefault(answer.name, []).append(answer.problem)
    for name, problems in answered.items():
        why = "; ".join(filter(None, dict.fromkeys(problems)))
        loaded = problems.count("")
        some = f"loaded {loaded} of {len(problems)}; of the others: {why}" if loaded else why
        say(f"{name}: {some if why else f'loaded {sent}'}")
    if all(any(problems) for problems in answered.values()):
        raise typer.Exit(1)
