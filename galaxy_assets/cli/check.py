"""`check`: whether the data folder holds what was written there.

Belongs here: arguments and the printed answer. Does not belong here: what is compared (`storage.integrity`).
"""

from contextlib import ExitStack
from typing import Annotated

import typer

from galaxy_assets.cli.terminal import say
from galaxy_assets.storage.files import NotWritten
from galaxy_assets.storage.integrity import Flaw, flaws, repair
from galaxy_assets.storage.layout import Layout


def check(
    surveys: Annotated[
        list[str] | None, typer.Argument(help="names of surveys; all that were run when not given")
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="read every file whole and compare it with its digest")] = False,
    mend: Annotated[
        bool, typer.Option("--repair", help="set aside what is damaged, so that the next run makes it again")
    ] = False,
) -> None:
    """Look whether tables, pixels, checkpoints, pictures and people's labels are what was written.

    It ends with status 1 where something is damaged or missing and was not repaired, and where nothing is there.

    Example: galaxy-assets check sdss_gz1 --deep --repair
    """
    layout = Layout.default()
    there = sorted({path.name for path in [*layout.lake.glob("[!.]*"), *(layout.root / "labels").glob("[!.]*")]})
    if unknown := sorted(set(surveys or ()) - set(there)):
        known = f"there are {', '.join(there)}" if there else "none was run yet"
        raise typer.BadParameter(f"nothing of {', '.join(unknown)} in {layout.root}; {known}")
    if not there:
        say(f"nothing was run yet in {layout.root} (GALAXY_ASSETS_DATA, else ./data)")
        raise typer.Exit(1)
    left = 0
    for survey in surveys or there:
        left += _check(layout, survey, deep, mend)
    if left:
        if not mend:
            again = "check --deep --repair" if deep else "check --repair"
            say(f"\n`galaxy-assets {again}` sets it aside: the next run makes tables again,")
            say("and people's labels come back from a backup alone")
        raise typer.Exit(1)


def _check(layout: Layout, survey: str, deep: bool, mend: bool) -> int:
    """Print the flaws of a survey, and what became of them; return how many are left."""
    from galaxy_assets.orchestration.automation.lock import AtWork, main_job_of

    with ExitStack() as held:
        if mend and (layout.lake / survey).is_dir():
            try:
                held.enter_context(main_job_of(survey, layout))
            except (AtWork, NotWritten) as error:
                say(f"{survey}: not repaired: {error}")
                return 1
        found = list(flaws(layout, survey, deep))
        looked = "read whole and compared" if deep else "footers, headers and lengths; --deep reads everything"
        say(f"{survey}: {f'{len(found)} damaged or missing' if found else 'as it was written'} ({looked})")
        for flaw in found:
            _say(flaw, layout, survey, mend)
        return 0 if mend else len(found)


def _say(flaw: Flaw, layout: Layout, survey: str, mend: bool) -> None:
    say(f"  ! {flaw.words}")
    if mend:
        say(f"    {repair(flaw, layout, survey)}")
