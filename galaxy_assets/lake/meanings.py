"""What the columns of a table that leaves the lake say of themselves: description, unit and UCD.

Descriptions and units are those of the lake's tables, which carry them in the footers of their files. UCDs, the words
of the IVOA for what a column holds (UCD1+), stand here, once for every column.

Belongs here: the table of UCDs, and how all three come to the columns of an export. Does not belong here: the files
(`formats`), descriptions of the lake's own columns, which stand in the declaration of their asset.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import damaged_otherwise
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import said_of, with_schema


class Meaning(NamedTuple):
    """What a column says of itself; each may be empty.

    Attributes
    ----------
    description : str
        What it holds.
    unit : str
        As astropy writes it.
    ucd : str
        In UCD1+.
    """

    description: str
    unit: str
    ucd: str


UCDS: Mapping[str, str] = {
    "galaxy_id": "meta.id;meta.main",
    "query_id": "meta.id.cross",
    "neighbour_id": "meta.id.cross",
    "batch": "meta.dataset",
    "init": "meta.code;meta.modelled",
    "file": "meta.id;meta.file",
    "image": "meta.id;meta.file",
    "sha256": "meta.checksum",
    "ra": "pos.eq.ra;meta.main",
    "dec": "pos.eq.dec;meta.main",
    "width": "phys.size;instr.pixel",
    "height": "phys.size;instr.pixel",
    "label": "src.class",
    "human_label": "src.class",
    "evaluation_class": "src.class",
    "cluster": "meta.code.class;meta.modelled",
    "probability": "stat.probability",
    "description": "meta.note",
    "x": "pos.cartesian.x",
    "y": "pos.cartesian.y",
    "vector": "stat.param;meta.modelled",
    "components": "stat.param;meta.modelled",
    "rank": "stat.rank",
    "score": "stat.value;meta.modelled",
    "score_std": "stat.stdev",
    "human_score": "stat.value;stat.mean",
    "people": "meta.number",
    "queried_round": "meta.number",
    "scored_by": "meta.note",
    "model": "meta.checksum",
    "position": "meta.number",
    "distance": "stat.value",
    "published": "stat.value;meta.modelled",
    "published_std": "stat.stdev",
    "published_round": "meta.number",
    "isolation_forest": "stat.value;meta.modelled",
    "local_outlier_factor": "stat.value;meta.modelled",
    "random": "stat.value",
    "kept": "meta.code.qual",
    "suspect": "meta.code.qual",
    "fallback": "meta.code.qual",
    "blank": "meta.code.qual",
    "rule": "meta.note",
    "reason": "meta.note",
    "problem": "meta.code.error",
    "outcome": "meta.code.status",
    "blank_fraction": "stat.value;arith.ratio",
    "saturated_fraction": "stat.value;arith.ratio",
    "nodata_fraction": "stat.value;arith.ratio",
    "edge_flux_ratio": "phot.flux;arith.ratio",
    "band_mismatch": "stat.correlation",
    "trail_length": "phys.size;arith.ratio",
    "box_x0": "pos.cartesian.x;instr.pixel",
    "box_y0": "pos.cartesian.y;instr.pixel",
    "box_x1": "pos.cartesian.x;instr.pixel",
    "box_y1": "pos.cartesian.y;instr.pixel",
    "angle": "pos.posAng",
    "noise_std": "stat.stdev;instr.skyLevel",
    "threshold": "instr.sensitivity",
    "contour_area": "phys.area;instr.pixel",
    "levels": "meta.number",
    "pixels": "meta.checksum",
    "features_key": "meta.checksum",
    "total_votes": "meta.number",
    "*_total-votes": "meta.number",
    "*_fraction": "stat.value;arith.ratio",
}
"""Column -> UCD, of every column that a table of galaxies has; a name may be a pattern. Names that two tables share
stand for the same kind of thing."""

_OWN: Mapping[str, tuple[str, str]] = {
    "ra": ("right ascension", "deg"),
    "dec": ("declination", "deg"),
    "rank": ("place in this export, from 1", ""),
    "image": ("the cutout, a PNG below this folder", ""),
    "human_score": ("mean over people of each person's latest score, 0 to 5; null where nobody scored it", ""),
    "human_label": ("class that a person gave last; null where nobody did", ""),
    "people": ("number of people whose scores count; 0 where a class alone was given, null where nothing was said", ""),
    "components": ("principal components of the features of the main start weights", ""),
}
"""Description and unit of what an export adds, and of positions in lakes whose files do not say it."""


def ucd_of(name: str) -> str:
    """The UCD of a column, by its name.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
        Empty where none is known.

    Examples
    --------
    >>> ucd_of("ra"), ucd_of("merging_merger_fraction"), ucd_of("my_column")
    ('pos.eq.ra;meta.main', 'stat.value;arith.ratio', '')
    """
    return UCDS.get(name) or next((ucd for pattern, ucd in UCDS.items() if fnmatchcase(name, pattern)), "")


def said_in(layout: Layout, survey: str, table: str) -> dict[str, tuple[str, str]]:
    """What the files of a table say of its columns.

    Parameters
    ----------
    layout : Layout
        The data folder.
    survey : str
        Its name.
    table : str
        Path below the survey's folder of the lake without `.parquet`, such as `catalogue/[!.]*`.

    Returns
    -------
    dict of str to (str, str)
        Column -> description and unit, as the last file that says anything has them. Empty where none does, as in
        lakes of earlier versions.
    """
    for file in sorted((layout.lake / survey).glob(f"{table}.parquet"), reverse=True):
        told = {field.name: said_of(field) for field in _schema(file)}
        if any(description for description, _ in told.values()):
            return told
    return {}


def with_meanings(table: pa.Table, *said: Mapping[str, tuple[str, str]]) -> pa.Table:
    """The table with `description`, `unit` and `ucd` in the metadata of its fields, as far as they are known.

    Parameters
    ----------
    table : pyarrow.Table
        Its values stay.
    *said : mapping of str to (str, str)
        Column -> description and unit (`said_in`); of several that know a column the first counts.

    Returns
    -------
    pyarrow.Table

    Examples
    --------
    >>> table = with_meanings(pa.table({"ra": [180.0]}), {"ra": ("right ascension", "deg")})
    >>> meaning_of(table.schema.field("ra"))
    Meaning(description='right ascension', unit='deg', ucd='pos.eq.ra;meta.main')
    """
    fields = [_with_meaning(field, _meaning(field.name, said)) for field in table.schema]
    return with_schema(table, pa.schema(fields, metadata=table.schema.metadata))


def meaning_of(field: pa.Field) -> Meaning:
    """What the metadata of a field say.

    Parameters
    ----------
    field : pyarrow.Field

    Returns
    -------
    Meaning
    """
    return Meaning(*said_of(field), (field.metadata or {}).get(b"ucd", b"").decode())


def meanings(schema: pa.Schema) -> dict[str, dict[str, str]]:
    """What the columns of a schema say, for JSON.

    Parameters
    ----------
    schema : pyarrow.Schema

    Returns
    -------
    dict of str to dict
        Column -> those of description, unit and ucd that are not empty.
    """
    return {f.name: {name: text for name, text in meaning_of(f)._asdict().items() if text} for f in schema}


def _meaning(name: str, said: Iterable[Mapping[str, tuple[str, str]]]) -> Meaning:
    own = _OWN.get(name, ("", ""))
    description, unit = next((told[name] for told in said if told.get(name, ("", ""))[0]), own)
    return Meaning(description, unit, ucd_of(name))


def _with_meaning(field: pa.Field, meaning: Meaning) -> pa.Field:
    return field.with_metadata({name: text for name, text in meaning._asdict().items() if text})


def _schema(file: Path) -> pa.Schema:
    import pyarrow.parquet as pq

    with damaged_otherwise(file):
        known = store_of(file).schema(file)
        return known if known is not None else pq.read_schema(file)
