"""The artefact rule as the page draws it: boxes on the map of pretrained features.

Belongs here: the boxes of a review, what they would remove, and their file. Does not belong here: proposing regions and
applying them (`science.artefacts`), drawing (`map.js`).
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from galaxy_assets.explorer.changes import Otherwise, one_at_a_time
from galaxy_assets.explorer.view import View
from galaxy_assets.science.artefact_regions import Region, regions_to_table, table_to_regions
from galaxy_assets.science.region_review import read_review
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.settings.regular import regular
from galaxy_assets.storage.artefact_review import drawn_on
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import read_table


def read_regions(view: View) -> list[Region]:
    """The boxes in force: a person's review where there is one, else the proposal.

    Parameters
    ----------
    view : View
        The map of pretrained features on which they are shown.

    Returns
    -------
    list of Region

    Raises
    ------
    ValueError
        For boxes of another map, and a review that cannot be used.
    """
    layout, survey = view.lake.layout, view.survey
    review = layout.artefact_review(survey)
    if review.exists():
        return read_review(store_of(review).local(review), view.drawn_on)
    proposed = layout.table(survey, "artefact_regions")
    if not proposed.exists():
        return []
    table = read_table(proposed)
    if set(table["map"].to_pylist()) - {view.drawn_on}:
        raise ValueError("the boxes of artefact_regions are of another map; reload the page when the run has ended")
    return table_to_regions(table)


@dataclass(frozen=True)
class Preview:
    """What boxes would remove.

    Attributes
    ----------
    rows : ndarray of int
        Of the map.
    suspects : int
        How many of them are suspects.
    reasons : list of (str, int)
        Why, and how often.
    """

    rows: np.ndarray
    suspects: int
    reasons: list[tuple[str, int]]


def preview(view: View, regions: list[Region]) -> Preview:
    """What boxes hold on the map of pretrained features, without what evidence removes wherever it lies.

    Parameters
    ----------
    view : View
        Of that map.
    regions : list of Region

    Returns
    -------
    Preview
    """
    held = np.zeros(len(view), bool)
    for region in regions:
        if region.status != "rejected":
            held |= region.holds(view.x, view.y)
    rows = np.flatnonzero(held).astype(np.int32)
    suspect = view.column("suspect").to_numpy(zero_copy_only=False)[rows]
    reasons = view.column("reason").take(pa.array(rows)).to_pylist()
    tally = Counter(name for reason in reasons if reason for name in reason.split(", "))
    return Preview(rows, int(np.sum(suspect.astype(bool))), tally.most_common(6))


def save(view: View, regions: list[Region], shown: str | None) -> Path:
    """Write boxes as the person's review, which the next run applies in place of the proposal.

    Every version stays in surveys/versions.

    Parameters
    ----------
    view : View
        The map of pretrained features on which they are drawn.
    regions : list of Region
    shown : str or None
        What `review_text` said when the person began.

    Returns
    -------
    Path
        Of this version.

    Raises
    ------
    Otherwise
        Where the review was changed since; nothing is written then.
    ValueError
        Where the map was made anew; nothing is written then either.
    """
    layout, survey = view.lake.layout, view.survey
    content = pa.BufferOutputStream()
    arrow_csv.write_csv(regions_to_table(regions, view.drawn_on), content)
    data = content.getvalue().to_pybytes()
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{hashlib.sha256(data).hexdigest()[:8]}.csv"
    version = versions(layout, survey) / name
    with one_at_a_time(layout, survey):
        if view.drawn_on != drawn_on(layout, survey):
            raise ValueError("the map was made anew, and the boxes hold other galaxies there; reload the page")
        _refuse_other(layout, survey, shown)
        for path in (version, layout.artefact_review(survey)):
            with replacing(path) as partial:
                partial.write_bytes(data)
    return version


def review_text(layout: Layout, survey: str) -> str | None:
    """The file of the person's review.

    Parameters
    ----------
    layout : Layout
    survey : str

    Returns
    -------
    str or None
        None where there is none and the proposal is in force.

    Raises
    ------
    PrintableError
        Where it is no text in UTF-8.
    OSError
        Where it cannot be read.
    """
    review = layout.artefact_review(survey)
    if not review.exists():
        return None
    try:
        return regular(store_of(review).local(review)).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PrintableError(f"{review}: not a CSV in UTF-8 ({error}); save it as one") from error


def put_review(layout: Layout, survey: str, text: str | None, shown: str | None) -> None:
    """Make the review what `review_text` said it was.

    Parameters
    ----------
    layout : Layout
    survey : str
    text : str or None
        None takes the review away: the next run proposes regions again. Its versions stay.
    shown : str or None
        What the person takes it to be now.

    Raises
    ------
    Otherwise
        Where it is not that any more.
    """
    review = layout.artefact_review(survey)
    with one_at_a_time(layout, survey):
        _refuse_other(layout, survey, shown)
        if text is None:
            store_of(review).remove(review)
            return
        with replacing(review) as partial:
            partial.write_bytes(text.encode())


def _refuse_other(layout: Layout, survey: str, shown: str | None) -> None:
    if review_text(layout, survey) != shown:
        raise Otherwise(
            "the artefact review was changed since, by hand or by somebody else; its versions are kept. "
            "Reload the page to see it"
        )


def versions(layout: Layout, survey: str) -> Path:
    """Where the versions of a survey's review are.

    Parameters
    ----------
    layout : Layout
    survey : str

    Returns
    -------
    Path
    """
    return layout.surveys / "versions" / f"{survey}_artefacts"
