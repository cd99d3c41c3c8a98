"""The keys of the page: which there are, and the dialog that lists them.

Belongs here: the list and its dialog. Does not belong here: what a key does (`page`, the panels), catching it
(`keys.js`).
"""

from nicegui import ui

KEYS = ["0", "1", "2", "3", "4", "5", "u", "s", "n", "o", "g", "f", "?", "undo"]
"""What `keys.js` sends; `undo` is Ctrl+Z, or Cmd+Z."""
_LISTS = {
    "Everywhere": [
        ("?", "this list"),
        ("Ctrl Z", "take back the last change: a score, a description, a box, a selection, a filter"),
        ("g", "go to the gallery"),
        ("f", "go to the filter"),
        ("Escape", "close a dialog or a menu"),
    ],
    "Score": [
        ("0 1 2 3 4 5", "score the galaxy that is shown"),
        ("u", "take back my last score"),
        ("s", "skip it"),
        ("n", "write a note; Enter leads back"),
        ("o", "open it"),
    ],
    "Gallery": [
        ("Arrows, Page, Home, End", "move"),
        ("Enter", "open the galaxy"),
        ("x", "choose it, for “More like these”"),
    ],
    "Map, by mouse or finger": [
        ("Drag, wheel", "move and zoom; with fingers drag and pinch"),
        ("Shift and drag", "draw a lasso; with a finger choose Lasso first"),
        ("Click", "open the galaxy; a tap shows it, a second one opens it"),
        ("Right click, long press", "what can be done with the galaxy"),
    ],
}


def show_keys() -> None:
    """Open the list of keys."""
    with ui.dialog().props('aria-label="keys" data-testid=keys') as dialog, ui.card().classes("ga-dialog ga-keys"):
        ui.label("Keys").classes("ga-title").props("role=heading aria-level=2")
        with ui.element("div").classes("ga-key-lists").props('tabindex=0 role=region aria-label="list of keys"'):
            for title, keys in _LISTS.items():
                with ui.element("section"):
                    ui.label(title).classes("ga-subtitle").props("role=heading aria-level=3")
                    for key, words in keys:
                        with ui.row().classes("ga-key"):
                            ui.label(key).classes("ga-kbd")
                            ui.label(words)
        ui.label("They rest while you type or a dialog is open.").classes("ga-note")
        ui.button("Close", on_click=dialog.close).props("flat no-caps")
    dialog.on("hide", dialog.delete)
    dialog.open()
