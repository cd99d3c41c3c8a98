"""One galaxy: cutout and original, what the lake and people say of it, what is like it, and where to look further.

Belongs here: the dialog. Does not belong here: where its parts come from (`routes`, `rankings`, `lake.similar`).
"""

import asyncio
import html
import math
import re
from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from galaxy_assets.explorer import rankings
from galaxy_assets.explorer.colours import word
from galaxy_assets.explorer.components import Gallery
from galaxy_assets.explorer.history_curve import curve
from galaxy_assets.explorer.share import copy_button
from galaxy_assets.explorer.tab import Tab
from galaxy_assets.lake.query import QueryError
from galaxy_assets.lake.similar import nearest
from galaxy_assets.settings.sky_links import sky_links

_NEAR = 12
_NUMBER = re.compile(r"[-+]?\d[-+.,:\de ]*[%°]?")  # times too
_ROW_ASSETS = ("catalogue", "cutouts", "cluster_labels", "anomaly_ranking", "artefact_map", "clean_galaxies")


class ObjectDialog:
    """All that is known of one galaxy, in a dialog.

    Parameters
    ----------
    tab : Tab
    on_more_like : callable
        Called with galaxy ids.
    """

    def __init__(self, tab: Tab, on_more_like: Callable[[list[str]], Awaitable[Any]]):
        self.tab, self.on_more_like = tab, on_more_like
        self.dialog = ui.dialog().props('aria-labelledby="ga-object-title" data-testid=object')
        self.dialog.on("hide", lambda: tab.moved(open=""))
        with self.dialog, ui.card().classes("ga-object"):
            self.content = ui.column().classes("ga-object-content")

    async def show(self, row: int) -> None:
        """Open with what is known at once; history and neighbours follow.

        Parameters
        ----------
        row : int
            Of the map.
        """
        tab, galaxy = self.tab, self.tab.galaxy(row)
        try:
            about = await asyncio.to_thread(self._about, row)
        except QueryError as error:
            ui.notify(f"{galaxy} is not shown: {error}", type="negative", multi_line=True, close_button="Close")
            return
        self.content.clear()
        with self.content:
            with ui.row().classes("ga-bar"):
                ui.label(galaxy).classes("ga-title").props('id="ga-object-title" role=heading aria-level=2')
                ui.space()
                copy_button(tab, "copy a link to this galaxy")
                ui.button("More like this", on_click=lambda: self._more(galaxy)).props("flat dense no-caps")
                ui.button(icon="close", on_click=self.dialog.close).props('flat dense round aria-label="close"')
            with ui.element("div").classes("ga-object-grid"):
                with ui.element("figure"):
                    ui.element("img").props(f'src="{tab.picture(row, 512)}" alt="cutout"').classes("ga-large")
                    ui.html("<figcaption>Cutout, as stored</figcaption>", sanitize=False)
                with ui.element("figure"):
                    ui.html(self._frame(row, about), sanitize=False)
                    ui.html(f"<figcaption>{html.escape(_outcome(about))}</figcaption>", sanitize=False)
                with ui.element("div"):
                    _table("What was found", self._findings(about))
                    _table("Catalogue", _catalogue(about))
                    self._links(about)
                with ui.element("div"):
                    _table("Volunteers' votes", _votes(about))
                    history = ui.element("div")
            ui.label("Nearest in feature space").classes("ga-subtitle").props("role=heading aria-level=3")
            state = ui.label("looking for them").classes("ga-note").props("role=status")
            near = Gallery("nearest galaxies", "").classes("ga-near")
            near.on("open", lambda e: self.show(int(e.args)))
        self.dialog.open()
        tab.moved(open=galaxy)
        with history:
            await self._history(galaxy)
        await self._neighbours(galaxy, near, state)

    def _about(self, row: int) -> dict[str, Any]:
        view = self.tab.view
        relation = view.relation({c.table for c in view.columns.values()})
        return view.lake.ask(f"from ({relation}) where row = ?", [row]).to_pylist()[0]

    def _findings(self, about: dict[str, Any]) -> dict[str, Any]:
        found = {
            "rank": about.get("rank"),
            "score": about.get("score"),
            "uncertainty": about.get("score_std"),
            "cluster": about.get("cluster"),
            "its probability": about.get("probability"),
            "kept": about.get("kept"),
            "would be removed by" if about.get("kept") else "removed by": about.get("rule"),
            "evidence of an artefact": about.get("artefact_map_reason")
            or (about.get("reason") if "suspect" in about else None),
        }
        return {k: v for k, v in found.items() if v is not None and v != ""}

    def _frame(self, row: int, about: dict[str, Any]) -> str:
        """The original with the box drawn over it, turned as the cutout was."""
        source = html.escape(f"{self.tab.base}/frame/{row}")
        x0, y0, x1, y1 = (about.get(f"box_{k}") for k in ("x0", "y0", "x1", "y1"))
        width, height = about.get("width"), about.get("height")
        drawn = ""
        if width and height and x0 is not None and y0 is not None and x1 is not None and y1 is not None:
            turn = f' transform="rotate({about.get("angle") or 0} {(x0 + x1) / 2} {(y0 + y1) / 2})"'
            drawn = (
                f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">'
                f'<rect x="{x0}" y="{y0}" width="{x1 - x0}" height="{y1 - y0}"{turn}/></svg>'
            )
        missing = "this.parentElement.textContent='The original frame is not where it was delivered.'"
        shape = f' style="aspect-ratio: {width} / {height}"' if width and height else ""
        return (
            f'<div class="ga-frame"{shape}><img src="{source}" alt="original frame" onerror="{missing}">{drawn}</div>'
        )

    def _links(self, about: dict[str, Any]) -> None:
        tab = self.tab
        with ui.column().classes("ga-links"):
            ra, dec = about.get("ra"), about.get("dec")
            if ra is not None and dec is not None and math.isfinite(ra) and math.isfinite(dec):
                with ui.row().classes("ga-bar"):
                    for name, address in sky_links(tab.survey.sky_links, ra, dec).items():
                        ui.link(name, address, new_tab=True).props('rel="noopener noreferrer"')
            else:
                ui.label("No coordinates, so no sky viewer.").classes("ga-note")
            with ui.row().classes("ga-bar"):
                ui.label("In Dagster:").classes("ga-note")
                for asset in _ROW_ASSETS:
                    ui.link(asset, tab.shared.dagster.asset_page(tab.survey.name, asset), new_tab=True)

    async def _history(self, galaxy: str) -> None:
        tab = self.tab
        kept = await asyncio.to_thread(rankings.history, tab.shared.layout, tab.survey.name, galaxy)
        rows = [
            (
                f"{k.made:%Y-%m-%d %H:%M}",
                f"{k.score:.2f}" + ("" if k.std is None else f" ± {k.std:.2f}"),
                f"rank\u00a0{k.rank:,}",
            )
            for k in kept[::-1]
        ]
        _rows("Score, ranking by ranking", rows, "No ranking yet.", curve(kept), "ga-facts ga-history")
        said = [
            (
                f"{e['time']:%Y-%m-%d %H:%M}",
                e["who"],
                _said(e) + (" (taken back)" if e["undone"] else "") + (f": {e['note']}" if e.get("note") else ""),
            )
            for e in tab.labels.of(galaxy)
        ]
        _rows("What people said", said, "Nobody has said anything yet.")

    async def _neighbours(self, galaxy: str, near: Gallery, state: ui.label) -> None:
        tab = self.tab
        start = tab.view.weights or tab.survey.main_start_weights
        try:
            found = await asyncio.to_thread(nearest, tab.shared.layout, tab.survey, start, [galaxy], _NEAR)
        except (ValueError, FileNotFoundError) as error:
            state.text = str(error)
            near.set_visibility(False)
            return
        rows, distance = tab.view.rows_of(found.ids), dict(zip(found.ids, found.distances, strict=True))
        ids = [tab.galaxy(int(row)) for row in rows]
        items = [
            {"row": int(row), "id": name, "caption": f"{distance[name]:.3g}", "score": None}
            for row, name in zip(rows, ids, strict=True)
        ]
        state.text = f"Euclidean distance in the principal components of {start} start weights"
        near.show(tab.base, items, len(items))

    async def _more(self, galaxy: str) -> None:
        self.dialog.close()
        await self.on_more_like([galaxy])


def _outcome(about: dict[str, Any]) -> str:
    words = {"cropped": "cut to the box", "central": "central box"}
    outcome = about.get("outcome") or "not cut"
    size = f"{about.get('width')} × {about.get('height')} pixels"
    return f"Original, {size}: {words.get(outcome, outcome.replace('_', ' '))}"


def _catalogue(about: dict[str, Any]) -> dict[str, Any]:
    rows = {k: about.get(k) for k in ("label", "evaluation_class", "file", "batch")}
    rows |= {k: f"{v:.6f}°" for k in ("ra", "dec") if (v := about.get(k)) is not None and math.isfinite(v)}
    return rows


def _votes(about: dict[str, Any]) -> dict[str, Any]:
    shares = {k[: -len("_fraction")].replace("_", ": ", 1): v for k, v in about.items() if k.endswith("_fraction")}
    own = ("blank", "saturated")
    given = {k: v for k, v in shares.items() if v is not None and k not in own and math.isfinite(v) and v > 0}
    return {k: f"{v:.0%}" for k, v in sorted(given.items(), key=lambda item: (item[0].split(":")[0], -item[1]))}


def _said(event: dict[str, Any]) -> str:
    if event["kind"] == "undo":
        return "took back a score"
    return f"score {event['score']:g}" if event["kind"] == "score" else f"class {event['label']}"


def _table(title: str, values: dict[str, Any]) -> None:
    rows = [(name, word(value)) for name, value in values.items() if value is not None]
    _rows(title, rows, "None.")


def _rows(title: str, rows: list[tuple[str, ...]], empty: str, picture: str = "", style: str = "ga-facts") -> None:
    """A small table, below a picture of it. Every cell is escaped: names and notes are anybody's text."""
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    content = f"<table>{body}</table>" if rows else f'<p class="ga-note">{html.escape(empty)}</p>'
    ui.html(f'<section class="{style}"><h3>{html.escape(title)}</h3>{picture}{content}</section>', sanitize=False)


def _cell(text: str) -> str:
    """A cell, marked where it is a number: the page breaks none, and wraps the name before it."""
    style = ' class="ga-number"' if _NUMBER.fullmatch(text) else ""
    return f"<td{style}>{html.escape(text)}</td>"
