"""How a figure of the paper is declared and published as an asset.

Belongs here: what is the same for every figure. Does not belong here: any figure.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.columns import SHARED, markdown, of_schema
from galaxy_assets.orchestration.declaration import (
    IF_THERE,
    MAIN_START,
    SHOWN,
    Result,
    SurveyAsset,
    SurveyContext,
    picture,
    survey_asset,
)
from galaxy_assets.science.galaxy_ids import places
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT, WHOLE, REAL, YES = pa.string(), pa.int32(), pa.float64(), pa.bool_()
"""Types of the columns of a figure's table"""

_GREY = 96

Columns = Mapping[str, tuple[pa.DataType, str] | tuple[pa.DataType, str, str]]
"""Column of a figure's table -> its type, what it holds, and its unit where it has one"""

GALAXY: Columns = {"galaxy_id": (TEXT, SHARED["galaxy_id"])}
PLACE: Columns = {"x": (REAL, SHARED["x"]), "y": (REAL, SHARED["y"])}


class NotApplicable(Exception):
    """Why a figure cannot be made of this survey."""


@dataclass(frozen=True)
class View:
    """What a figure may look at beside its tables: the survey, and the cutouts of galaxies."""

    context: SurveyContext
    cutouts: pa.Table | None
    withdrawn: set[str] = field(default_factory=set)
    """Galaxies asked for that are no longer delivered: a model or a session of scores may be older than the cutouts."""

    @property
    def survey(self) -> Survey:
        """The survey that the figure is of."""
        return self.context.survey

    def images(self, ids: Sequence[str]) -> list[np.ndarray]:
        """Cutouts of the galaxies in that order, uint8 (size, size, channels) each; grey where one was withdrawn."""
        assert self.cutouts is not None, "a figure with cutouts reads `cutouts`"
        if not len(ids):
            return []
        rows = places(self.cutouts["galaxy_id"], pa.array(ids, pa.string()))
        there = rows >= 0
        known = self.context.pixels.of(self.cutouts)[rows[there]]
        images = np.full((len(rows), *known.shape[1:]), _GREY, known.dtype)
        images[there] = known
        self.withdrawn.update(galaxy for galaxy, found in zip(ids, there, strict=True) if not found)
        return list(images)


@dataclass(frozen=True)
class Shown:
    """A figure: rows of its table, its picture (None where the table is the figure), its caption, its key numbers."""

    table: pa.Table | list[dict[str, Any]]
    picture: "Figure | None"
    caption: str
    numbers: Mapping[str, float | int | str]


@dataclass(frozen=True)
class PaperFigure:
    """One figure or table: asset name, title, section of the paper, what it reads, its columns, its function."""

    name: str
    title: str
    section: str
    reads: Mapping[str, str]
    columns: pa.Schema
    settings: Sequence[str]
    show: Callable[..., Shown]
    version: str = "1"


def paper_figure(
    name: str,
    title: str,
    section: str,
    columns: Columns,
    *,
    reads: Iterable[str] = (),
    main: Iterable[str] = (),
    starts: Iterable[str] = (),
    settings: Sequence[str] = (),
    version: str = "1",
) -> Callable[[Callable[..., Shown]], PaperFigure]:
    """Declare the decorated function as a figure; `paper_figures.FIGURES` lists them.

    Parameters
    ----------
    name : str
        Name of the asset.
    title, section : str
        Its heading, and the section and number in the paper.
    columns : mapping of str to (pyarrow.DataType, str) or (pyarrow.DataType, str, str)
        Columns of the table behind the figure: type, what it holds, and its unit as astropy writes it.
    reads, main, starts : iterable of str
        Tables that the function is called with by name, after a View: whole, of the main start weights, and of all
        start weights that are there. `cutouts` goes to the View.
    settings : sequence of str
        Fields of the survey that decide the content, beside the main start weights.
    version : str
        As of every asset: raised when the function's code changes what it returns.

    Returns
    -------
    callable
        What makes a PaperFigure of a function.
    """
    schema = pa.schema([column(called, *said) for called, said in columns.items()])
    by = dict.fromkeys(reads, "whole") | dict.fromkeys(main, "main") | dict.fromkeys(starts, "starts")

    def declare(show: Callable[..., Shown]) -> PaperFigure:
        return PaperFigure(name, title, section, by, schema, settings, show, version)

    return declare


def figure_asset(figure: PaperFigure) -> SurveyAsset:
    """The asset of a figure, named as it.

    Its table has the figure's columns, and no row where the figure is not applicable.
    """
    how = {"whole": SHOWN, "main": MAIN_START | SHOWN, "starts": IF_THERE}

    def asset(context: SurveyContext, **tables: pa.Table) -> Result:
        view = View(context, tables.pop("cutouts", None))
        try:
            shown = figure.show(view, **tables)
        except NotApplicable as reason:
            shown = Shown([], None, "", {"not applicable": str(reason)})
        if gone := len(view.withdrawn):
            words = f" Grey: {gone} {'galaxy that is' if gone == 1 else 'galaxies that are'} no longer delivered."
            numbers = {**shown.numbers, "no longer delivered": gone}
            shown = replace(shown, caption=shown.caption + words, numbers=numbers)
        table = shown.table
        if isinstance(table, list):
            table = pa.Table.from_pylist(table, schema=figure.columns)
        table = table.select(figure.columns.names).cast(figure.columns)
        metadata = publish(view, figure, shown)
        if table.num_rows and shown.picture is None:
            metadata["table"] = dg.MetadataValue.md(markdown(table))
        return Result(table, metadata)

    asset.__name__ = figure.name
    asset.__doc__ = f"{figure.title}. {(figure.show.__doc__ or '').strip()}"
    return survey_asset(
        "9_figures",
        paper=figure.section,
        reads={name: how[by] for name, by in figure.reads.items()},
        settings=lambda survey: [survey.main_start_weights, *(getattr(survey, name) for name in figure.settings)],
        kinds=("matplotlib", "parquet"),
        tuned=not {"cutout", "recipe"}.isdisjoint(figure.settings),
        columns=of_schema(figure.columns),
        version=figure.version,
    )(asset)


def publish(view: View, figure: PaperFigure, shown: Shown) -> dict[str, Any]:
    """Write the picture as PNG and PDF, or remove an older one, and what the page says of it as JSON.

    Parameters
    ----------
    view : View
    figure : PaperFigure
    shown : Shown
        What the figure's function returned; without a picture, the reason is its number `not applicable`.

    Returns
    -------
    dict
        Metadata of the asset: title, numbers, caption, preview and paths of the pictures.
    """
    from galaxy_assets.storage.figures import save_for_print

    png = view.context.layout.figure(view.survey.name, figure.name)
    metadata: dict[str, Any] = {"title": figure.title, **shown.numbers}
    if shown.caption:
        metadata["caption"] = dg.MetadataValue.md(shown.caption)
    if shown.picture is None:
        for path in (png, png.with_suffix(".pdf")):
            store_of(path).remove(path)
    else:
        metadata |= picture(view.context, shown.picture, figure.name)
        view.context.beside.append(print_file := save_for_print(shown.picture, png.with_suffix(".pdf")))
        metadata["print"] = view.context.link(print_file)
    numbers = dict(shown.numbers)
    note = {
        "name": figure.name,
        "title": figure.title,
        "section": figure.section,
        "reason": numbers.pop("not applicable", None),
        "caption": shown.caption,
        "numbers": {k: v if isinstance(v, str) or np.isfinite(v) else None for k, v in numbers.items()},
        "drawn": shown.picture is not None,
    }
    with replacing(png.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(note, indent=1, allow_nan=False), encoding="utf-8")
    view.context.beside.append(png.with_suffix(".json"))
    return metadata


def named(name: str) -> str:
    """A name from a settings file as words of a caption."""
    return name.replace("_", " ")
