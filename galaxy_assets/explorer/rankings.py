"""Rankings that people saw: a galaxy's score has a history, and a new ranking can be compared.

Belongs here: keeping, comparing and reading them back. Does not belong here: making one (`orchestration.assets`).

    labels/<survey>/rankings/<time made>-<n>.parquet    columns of `anomaly_ranking`; the newest _KEPT
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from galaxy_assets.science.galaxy_ids import places
from galaxy_assets.storage.files import NotWritten, replacing
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import damaged_otherwise
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import read_table
from galaxy_assets.storage.versions import values_of

_KEPT = 50
_TIME, _TICK = "%Y%m%dT%H%M%S%f", timedelta(microseconds=1)
COLUMNS = ["galaxy_id", "score", "score_std", "rank"]


class Scored(NamedTuple):
    """What a ranking says of one galaxy.

    Attributes
    ----------
    made : datetime
        Of the ranking.
    rank : int
        From 1.
    score : float
    std : float or None
        None where the ranking has no uncertainty.
    """

    made: datetime
    rank: int
    score: float
    std: float | None


def ranking_files(layout: Layout, survey: str) -> list[Path]:
    """Files of the ranking of now.

    Parameters
    ----------
    layout : Layout
    survey : str

    Returns
    -------
    list of Path
    """
    home = layout.lake / survey
    return [
        f
        for f in [home / "anomaly_ranking.parquet", *sorted(home.glob("anomaly_ranking/**/[!.]*.parquet"))]
        if f.exists()
    ]


def folder(layout: Layout, survey: str) -> Path:
    """Where a survey's rankings are kept.

    Parameters
    ----------
    layout : Layout
    survey : str

    Returns
    -------
    Path
    """
    return layout.labels(survey) / "rankings"


def keep(layout: Layout, survey: str) -> None:
    """Keep the survey's ranking as it is now, unless it is the one kept last.

    Tables are replaced by rename, so a hard link costs nothing and stays what it was; where the file system has none it
    is copied. Where the disk is full or may not be written none is kept.

    Parameters
    ----------
    layout : Layout
    survey : str
    """
    with contextlib.suppress(NotWritten):
        _keep(layout, survey)


def _keep(layout: Layout, survey: str) -> None:
    files, before = ranking_files(layout, survey), list(_kept(layout, survey))
    newest = before[-1][0] if before else datetime.min.replace(tzinfo=UTC)
    if {values_of(file) for file in files} == {values_of(file) for made, file in before if made == newest}:
        return
    made = max((datetime.fromtimestamp(file.stat().st_mtime, UTC) for file in files), default=newest)
    now = datetime.now(UTC)
    # copies may be of any time; the last by name is the last kept, also after one of a clock that was ahead
    made = max(made if newest < made <= now else now, newest + _TICK)
    for i, file in enumerate(files):
        kept = folder(layout, survey) / f"{made:{_TIME}}-{i}.parquet"
        with replacing(kept) as partial:
            try:
                os.link(store_of(file).local(file), partial)
            except OSError:
                shutil.copyfile(file, partial)
    for old in sorted(folder(layout, survey).glob("[!.]*.parquet"))[:-_KEPT]:
        store_of(old).remove(old)


def _kept(layout: Layout, survey: str) -> Iterator[tuple[datetime, Path]]:
    for file in sorted(folder(layout, survey).glob("[!.]*.parquet")):
        yield datetime.strptime(file.name.split("-")[0], _TIME).replace(tzinfo=UTC), file


def history(layout: Layout, survey: str, galaxy: str) -> list[Scored]:
    """What the kept rankings said of a galaxy.

    Parameters
    ----------
    layout : Layout
    survey : str
    galaxy : str
        Its id.

    Returns
    -------
    list of Scored
        The oldest first.
    """
    found = []
    for made, file in _kept(layout, survey):
        with damaged_otherwise(file):
            own = [("galaxy_id", "=", galaxy)]
            rows = pq.read_table(
                store_of(file).local(file), columns=COLUMNS, filters=own, page_checksum_verification=True
            ).to_pylist()
        for row in rows:
            found.append(Scored(made, row["rank"], row["score"], row["score_std"]))
    return found


def previous_ranks(layout: Layout, survey: str, ids: pa.Array) -> np.ndarray | None:
    """Ranks in the ranking before the one of now.

    Parameters
    ----------
    layout : Layout
    survey : str
    ids : pyarrow.Array of length N

    Returns
    -------
    ndarray of shape (N,), float; or None
        NaN where a galaxy was not in it; None where no other was kept.
    """
    current = {values_of(file) for file in ranking_files(layout, survey)}
    before = [(made, file) for made, file in _kept(layout, survey) if values_of(file) not in current]
    if not before:
        return None
    last = before[-1][0]
    table = pa.concat_tables(read_table(f, ["galaxy_id", "rank"]) for m, f in before if m == last)
    at = places(table["galaxy_id"], ids)
    return np.where(at >= 0, table["rank"].to_numpy().astype(float)[at], np.nan)
