"""Cutouts around positions on the command line: `survey new --catalogue`, `survey skies` and `fetch` of such a survey.

Belongs here: their options and what is printed. Does not belong here: fetching (`deliveries.sky`).
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from galaxy_assets.cli.telling import telling
from galaxy_assets.cli.terminal import say
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.printing import printable

if TYPE_CHECKING:
    from galaxy_assets.deliveries.sky.plan import Plan
    from galaxy_assets.deliveries.sky.positions import Columns


def begin(
    folder: Path,
    catalogue: Path,
    sky: str,
    size: str | None,
    pixels: int | None,
    form: Literal["png", "jpg", "fits"] | None,
    columns: "Columns",
) -> "Plan":
    """Keep the plan and the positions of a survey in its folder, and say how the table was read.

    Parameters
    ----------
    folder : Path
        The survey's, of data/raw.
    catalogue : Path
        The table of positions.
    sky, size, pixels, form
        As `deliveries.sky.plan.choose` takes them.
    columns : Columns
        What is known of the table.

    Returns
    -------
    Plan

    Raises
    ------
    SurveyError
        Where something of it cannot be used.
    """
    from galaxy_assets.deliveries.sky.plan import choose, keep_plan
    from galaxy_assets.deliveries.sky.positions import keep_positions, read_positions

    plan = choose(sky, catalogue, size, pixels, form)
    read = read_positions(catalogue, columns, f".{plan.format}")
    plan = keep_plan(folder, plan)
    kept = keep_positions(folder, read.table)
    say(f"{len(kept):,} objects in {printable(str(catalogue))}: {'; '.join(read.notes)}")
    say(f"{plan.size:g} arcsec, {plan.pixels} pixels, {plan.format.upper()}, of {plan.url()}")
    if (caution := plan.caution()) is not None:
        say(f"! {caution}")
    return plan


def fetched(folder: Path, per_second: float | None = None, blank_too: bool = False) -> Counter[str]:
    """Fetch what is missing of a survey's cutouts, with progress, and say what became of the positions.

    Parameters
    ----------
    folder : Path
        The survey's, of data/raw.
    per_second : float, optional
        Most requests in a second.
    blank_too : bool
        Ask again for positions without data too.

    Returns
    -------
    collections.Counter of str
        Positions of each state of the ledger.

    Raises
    ------
    typer.Exit
        Where it stops before the end; what was fetched is kept.
    SurveyError
        Where a file of it cannot be used.
    """
    from galaxy_assets.deliveries.download.offers import FetchError
    from galaxy_assets.deliveries.sky.connection import Manners
    from galaxy_assets.deliveries.sky.fetching import fetch_sky

    try:
        with telling() as pace:
            manners = Manners(show=pace.show, every=pace.every)
            counts = fetch_sky(
                folder, replace(manners, per_second=per_second or manners.per_second), blank_too=blank_too
            )
    except KeyboardInterrupt:
        say("\nstopped; the same command goes on from here")
        raise typer.Exit(130) from None
    except (FetchError, OSError) as error:
        say(f"{error}")
        raise typer.Exit(1) from error
    say(", ".join(f"{n:,} {state.replace('_', ' ')}" for state, n in counts.items()) + f": {folder / 'ledger.parquet'}")
    if counts["failed"]:
        say(f"! {counts['failed']:,} failed; `galaxy-assets fetch {folder.name}` asks for them again")
    if not counts["done"]:
        raise SurveyError(
            f"{folder}: no position has an image. Where all are blank, the sky does not cover them or the service "
            f"fails to draw it (`galaxy-assets fetch {folder.name} --blank` asks again); ledger.parquet has each reason"
        )
    return counts


def begun_skies(raw: Path) -> list[str]:
    """Names of the surveys whose cutouts are fetched for positions.

    Parameters
    ----------
    raw : Path
        The folder data/raw.

    Returns
    -------
    list of str
        Sorted.
    """
    from galaxy_assets.deliveries.sky import plan

    return sorted(path.parent.name for path in raw.glob(f"*/{plan.NAME}"))


def list_skies() -> None:
    """List skies to fetch cutouts from; `survey new --sky` takes any other HiPS id too.

    Example: galaxy-assets survey skies
    """
    from galaxy_assets.deliveries.sky.skies import known_skies

    for sky in known_skies().values():
        say(sky.id)
        say(f"    {sky.band}: {sky.what}")
        say(f"    {sky.footprint}; pixels of {sky.pixel:g} arcsec; {sky.source}")
        say(f"    cutouts of {sky.size:g} arcsec, {sky.pixels} pixels unless you say otherwise")
