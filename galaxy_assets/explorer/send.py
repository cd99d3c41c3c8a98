"""What is on the page, to TOPCAT, Aladin or DS9 on the machine of the server, by SAMP.

Belongs here: sending the shown galaxies, and saying what became of it. Does not belong here: the messages
(`lake.samp`), the columns (`export_page`).
"""

from pathlib import Path

import numpy as np
from nicegui import ui

from galaxy_assets.explorer import neighbours
from galaxy_assets.explorer.export_page import page_table, view_apart
from galaxy_assets.explorer.tab import Tab
from galaxy_assets.lake.query import QueryError
from galaxy_assets.lake.samp import Answer, SampError, send_table
from galaxy_assets.settings.printing import count_of


def send(root: Path, survey: str, start: str, version: str, rows: np.ndarray) -> list[Answer]:
    """Send rows of a map as a table, with what people say of them.

    Parameters
    ----------
    root : Path
        The data folder.
    survey, start, version : str
        Name the map, and that of now: the `version` of the view that the rows are of.
    rows : ndarray of int
        In the order of the table.

    Returns
    -------
    list of Answer
        One for each program that loads tables.

    Raises
    ------
    SampError
        Where no hub runs, or no such program is connected to it.
    QueryError
        Where the map was made anew, and the rows are other galaxies.
    """
    table = page_table(view_apart(root, survey, start, version), rows)
    return send_table(table, f"{survey}, {count_of(len(rows), 'galaxy')}")


async def send_shown(tab: Tab) -> None:
    """Send the galaxies that a tab shows, and say who loaded them.

    Parameters
    ----------
    tab : Tab
    """
    if not len(tab.shown):
        ui.notify("There is nothing on the page to send.", type="warning")
        return
    notice = ui.notification("Sending the table", spinner=True, timeout=None)
    try:
        view = tab.view
        answers = await neighbours.apart(send, tab.shared.layout.root, view.survey, view.start, view.version, tab.shown)
    except (SampError, QueryError, ValueError, OSError) as error:
        ui.notify(str(error), type="negative", multi_line=True, timeout=10_000, close_button="Close")
        return
    finally:
        notice.dismiss()
    loaded = f"loaded {count_of(len(tab.shown), 'galaxy')}"
    for name, problem in answers:
        ui.notify(f"{name}: {problem or loaded}", type="negative" if problem else "positive")
