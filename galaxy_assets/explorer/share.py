"""A link to what a tab shows: copied by a click, and kept so that it still leads there when the server is another one.

Belongs here: the button and keeping what is behind the link. Does not belong here: the address (`tab.Place`), the files
of selections (`selections`).
"""

import asyncio
import json

from nicegui import events, ui

from galaxy_assets.explorer import selections
from galaxy_assets.explorer.tab import Tab

# in the browser, where alone a click may write to the clipboard; pages of plain HTTP of another machine have no
# navigator.clipboard, browsers then copy what is selected
_COPY = """async () => {
  const link = location.href;
  let done = false;
  try { await navigator.clipboard.writeText(link); done = true; } catch (refused) {
    const area = Object.assign(document.createElement('textarea'), { value: link });
    (document.querySelector('.q-dialog') ?? document.body).append(area);
    area.select();
    done = document.execCommand('copy');
    area.remove();
  }
  emit({ link, done });
}"""


def copy_button(tab: Tab, words: str) -> ui.button:
    """A button that copies the link to what the tab shows.

    Parameters
    ----------
    tab : Tab
    words : str
        What it copies, for a tooltip and screen readers.

    Returns
    -------
    ui.button
    """

    async def copied(event: events.GenericEventArguments) -> None:
        try:
            await asyncio.to_thread(keep_selection, tab)
        except OSError as error:
            ui.notify(
                f"The link leads to its selection while this server runs: {error}", type="warning", multi_line=True
            )
        if event.args["done"]:
            ui.notify("The link is copied.", type="positive")
        else:
            _by_hand(str(event.args["link"]))

    button = ui.button(icon="link").props(f"flat round dense aria-label={json.dumps(words)}").tooltip(words)
    return button.on("click", copied, js_handler=_COPY)


def keep_selection(tab: Tab) -> None:
    """Keep the selection that the tab's address names.

    Parameters
    ----------
    tab : Tab

    Raises
    ------
    OSError
        Where it cannot be written.
    """
    if tab.place.of and tab.selection is not None:
        selections.keep(tab.view, tab.place.of, tab.selection, tab.words, tab.found)


def open_selection(tab: Tab) -> bool:
    """Select what the tab's address names: of this server, or kept.

    Parameters
    ----------
    tab : Tab

    Returns
    -------
    bool
        Whether it was found.

    Raises
    ------
    ValueError
        Where the address names no selection, or its file is damaged.
    """
    name = tab.place.of
    kept = selections.read(tab.view, name) or tab.shared.kept(name, tab.view)
    if kept is not None:
        tab.selection, tab.words, tab.found = kept
    return kept is not None


def _by_hand(link: str) -> None:
    with ui.dialog().props('aria-label="link"') as dialog, ui.card().classes("ga-dialog"):
        ui.label("This browser copies nothing by itself. Copy the link here:")
        ui.input("Link", value=link).props("readonly outlined dense autofocus").classes("full-width")
        ui.button("Close", on_click=dialog.close).props("flat no-caps")
    dialog.on("hide", dialog.delete)
    dialog.open()
