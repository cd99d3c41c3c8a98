"""The bar at the top of the page: the survey, its maps, who scores, and what one can do everywhere.

Belongs here: the bar. Does not belong here: what taking back does (`undo`), the link (`share`), the keys (`keyboard`).
"""

from collections.abc import Callable
from typing import Any

from nicegui import ui

from galaxy_assets.explorer.keyboard import show_keys
from galaxy_assets.explorer.tab import Place

# in the browser, which alone knows it where the page follows its setting
_IS_DARK = "() => emit(document.body.classList.contains('body--dark'))"


class Header:
    """The bar.

    Parameters
    ----------
    place : Place
    who : str
        The person; empty where nobody has said it.
    titles : dict of str to str
        Of the surveys, by name.
    starts : list of str
        Start weights that have a map.
    on_name : callable
        Called when the person's name may be another.
    on_dark : callable
        Called with whether the page is dark now.
    on_undo : callable

    Attributes
    ----------
    undo : ui.button
    share : ui.row
        Where the button for a link stands.
    name : ui.input
    """

    def __init__(
        self,
        place: Place,
        who: str,
        titles: dict[str, str],
        starts: list[str],
        *,
        on_name: Callable[[], Any],
        on_dark: Callable[[bool], Any],
        on_undo: Callable[[], Any],
    ):
        self.place = place
        with ui.header().classes("ga-header").props("bordered"):
            ui.label("galaxy-assets").classes("ga-brand").props("role=heading aria-level=1")
            self._choice(titles, place.survey, "Survey", "ga-survey", lambda name: Place(survey=name))
            self._choice({s: s for s in starts}, place.start, "Map of", "ga-start", self.other_map)
            others = {"": "no other", **{name: name for name in starts if name != place.start}}
            self._choice(others, place.beside, "Beside it", "ga-start", self._beside)
            ui.space()
            self.name = ui.input("Scoring as", value=who, placeholder="your name").classes("ga-who")
            self.name.props("dense outlined maxlength=80 autocomplete=off")
            self.name.on("blur", on_name).on("keydown.enter", on_name)
            self.undo = ui.button("Undo", icon="undo", on_click=on_undo).props("flat dense no-caps data-testid=undo")
            self.undo.disable()
            self.share = ui.row()
            theme = ui.button(icon="contrast").props('flat round dense aria-label="light or dark"')
            theme.on("click", lambda event: on_dark(bool(event.args)), js_handler=_IS_DARK)
            ui.button(icon="help_outline", on_click=show_keys).props('flat round dense aria-label="keys"')

    def _choice(self, options: dict[str, str], value: str, label: str, style: str, to: Callable[[str], Place]) -> None:
        chosen = ui.select(options, value=value, label=label).props("dense outlined options-dense").classes(style)
        chosen.on_value_change(lambda e: ui.navigate.to(to(e.value or "").address()))

    def other_map(self, start: str, panel: str = "") -> Place:
        """The place on another map; the map beside it stays, or changes places with it.

        Parameters
        ----------
        start : str
            Start weights.
        panel : str
            The panel of now when empty.

        Returns
        -------
        Place
        """
        place = self.place
        beside = place.start if start == place.beside else place.beside
        return Place(place.survey, start, panel=panel or place.panel, color=place.color, beside=beside)

    def _beside(self, start: str) -> Place:
        self.place.beside, self.place.zoom_beside = start, ""
        return self.place
