"""Whether what a data folder holds is what was written there, and setting aside what is not.

Belongs here: comparing tables, pixels, checkpoints, pictures and label events of one survey with what is recorded of
them. Does not belong here: making anything again (the main job does, since what was set aside is outdated).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxy_assets.storage.checkpoints import read_row
from galaxy_assets.storage.files import DamagedFile, file_sha256, set_aside
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.provenance import damaged_otherwise, origin, readable_origin
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import opened_table, read_table, verify


@dataclass(frozen=True)
class Flaw:
    """Something of a survey that is not what was written.

    Attributes
    ----------
    path : Path
        The file or folder.
    words : str
        What is wrong with it.
    table : Path, optional
        The table that was made with it, where that table does not say so itself (it is of older code).
    """

    path: Path
    words: str
    table: Path | None = None


def flaws(layout: Layout, survey: str, deep: bool = False) -> Iterator[Flaw]:
    """Look through what a data folder holds of a survey.

    Parameters
    ----------
    layout : Layout
        The data folder.
    survey : str
        Name of the survey.
    deep : bool
        Read everything and compare it with its digest; else what the footers and headers of the files say, whether
        they have their whole length, and whether what was written beside a table is there.

    Yields
    ------
    Flaw
    """
    home = layout.lake / survey
    tables = [path for path in sorted(home.rglob("[!.]*.parquet")) if not _apart(path, home)]
    for path in tables:
        yield from _of_table(path, layout, deep)
    for folder in sorted(layout.pixels(survey).glob("[!.]*")):
        yield from _of_pixels(folder, layout.table(survey, "cutouts", folder.name), deep)
    for path in sorted((home / "byol_checkpoints").glob("[!.]*.parquet")):
        yield from _of_checkpoints(path, layout, deep)
    for path in [*LabelLog(layout.labels(survey)).files(), *_rankings(layout, survey)]:
        yield from _of_labels(path, deep)
    if deep:
        yield from _of_files_by_hand(layout, survey)


def repair(flaw: Flaw, layout: Layout, survey: str) -> str:
    """Set aside what is not what was written, so that it is made again; nothing is deleted.

    Parameters
    ----------
    flaw : Flaw
        Of `flaws`.
    layout : Layout
        The data folder.
    survey : str
        Name of the survey.

    Returns
    -------
    str
        What was done, in words.

    Raises
    ------
    NotWritten
        Where the folder may not be written.
    """
    labels = layout.labels(survey)
    if flaw.path.is_relative_to(labels):
        return _repair_labels(flaw.path, labels)
    for home in (layout.surveys, layout.weights):
        if flaw.path.is_relative_to(home):
            return f"kept as {set_aside(flaw.path, home)}; put it there again"
    done = []
    for path in (flaw.path, flaw.table):
        if path is not None and path.exists():
            done.append(f"kept as {set_aside(path, layout.lake / survey)}")
    return "; ".join([*done, "the next run makes it again"])


def _apart(path: Path, home: Path) -> bool:
    """Whether a Parquet file is none of the survey's tables: the rows of pixels, and what was set aside."""
    parts = path.relative_to(home).parts
    return parts[0] == "pixels" or any(part.startswith(".") for part in parts)


def _of_table(path: Path, layout: Layout, deep: bool) -> Iterator[Flaw]:
    try:
        made = origin(path)
        if deep:
            verify(path)
    except DamagedFile as error:
        yield Flaw(path, error.words)
        return
    for name, sha256 in (made.beside if made is not None else {}).items():
        beside = layout.root / name
        if not beside.exists():
            yield Flaw(beside, f"{beside} is missing; it was made with {path}")
        elif deep and sha256 and not _is_as_recorded(beside, sha256):
            yield Flaw(beside, f"{beside} is not what was written with {path} (its sha256 is another)")


def _is_as_recorded(path: Path, sha256: str) -> bool:
    try:
        return file_sha256(path) == sha256
    except DamagedFile:
        return False


def _of_pixels(folder: Path, table: Path, deep: bool) -> Iterator[Flaw]:
    # a table of older code does not name its pixels and is set aside with them
    made = readable_origin(table)
    own = PixelStore(folder.parent).file(folder.name)
    named = made is not None and any(own.as_posix().endswith(f"/{name}") for name in made.beside)
    with_it = None if named else table
    try:
        pixels = PixelStore(folder.parent).read(folder.name)
        content = PixelStore.content(folder)
        rows = sorted((folder / "rows").glob("[!.]*.parquet"))
        counted = 0
        for chunk in rows:
            with opened_table(chunk) as opened:
                counted += opened.metadata.num_rows
        expected = None if content is None else (content["n"], *content["shape"])
        if pixels.shape != expected or counted != len(pixels):
            raise DamagedFile(folder, f"{len(pixels)} cutouts of {pixels.shape[1:]}, {counted} rows, not {expected}")
        if deep:
            for chunk in rows:
                _compare_chunk(chunk, pixels)
    except DamagedFile as error:
        yield Flaw(folder, error.words, with_it)
        return
    except FileNotFoundError as error:
        if not named:  # else said of the table
            yield Flaw(folder, str(error), table)
        return
    for resized in sorted(folder.glob("size_*.npy")):
        yield from _of_resized(resized, deep)


def _compare_chunk(chunk: Path, pixels: np.memmap) -> None:
    """Raises DamagedFile where the pixels of a chunk are not those whose digest is kept with its rows."""
    made, n = origin(chunk), verify(chunk).num_rows
    recorded = made.beside.get("cutouts.npy") if made is not None else None
    start = int(chunk.stem)
    if recorded and hashlib.sha256(pixels[start : start + n].data).hexdigest() != recorded:
        raise DamagedFile(Path(str(pixels.filename)), f"rows {start} to {start + n - 1} are not what was written")


def _of_resized(path: Path, deep: bool) -> Iterator[Flaw]:
    recorded = path.with_suffix(".sha256")
    try:
        with damaged_otherwise(path):
            np.lib.format.open_memmap(path, mode="r")  # refuses one that is shorter than it says
            if deep and recorded.exists() and file_sha256(path) != recorded.read_text(encoding="ascii").split()[0]:
                raise ValueError(f"its sha256 is not that of {recorded.name}")
    except DamagedFile as error:
        yield Flaw(path, error.words)


def _of_checkpoints(ledger: Path, layout: Layout, deep: bool) -> Iterator[Flaw]:
    try:
        rows, made = read_table(ledger, ["path", "sha256", "chosen"]).to_pylist(), origin(ledger)
    except DamagedFile:  # said of the table
        return
    for row in rows:
        path = layout.root / row["path"]
        named = made is not None and row["path"] in made.beside
        if not path.exists():
            if row["chosen"] and not named:
                yield Flaw(path, f"{path} is missing, the chosen checkpoint of {ledger}", ledger)
        elif deep and not named and not _is_as_recorded(path, row["sha256"]):
            yield Flaw(path, f"{path} is not what {ledger} records (its sha256 is another)", ledger)
    for note in sorted({(layout.root / row["path"]).parent for row in rows}):
        for path in sorted(note.glob("epoch_*.json")):
            yield from _of_note(path)


def _of_note(path: Path) -> Iterator[Flaw]:
    try:
        read_row(path)
    except DamagedFile as error:
        yield Flaw(path, error.words)


def _rankings(layout: Layout, survey: str) -> list[Path]:
    """The rankings that people saw."""
    return sorted((layout.labels(survey) / "rankings").glob("[!.]*.parquet"))


def _of_labels(path: Path, deep: bool) -> Iterator[Flaw]:
    try:
        if deep:
            verify(path)
        with opened_table(path) as opened:
            names = opened.schema_arrow.names
        if path.parent.name == "events" and "event" not in names:
            raise DamagedFile(path, "it holds no events")
    except DamagedFile as error:
        yield Flaw(path, error.words)
    except FileNotFoundError:  # else merged since it was listed
        if path.is_symlink():
            yield Flaw(path, f"{path} is a link to {path.readlink()}, which is not there")


def _of_files_by_hand(layout: Layout, survey: str) -> Iterator[Flaw]:
    """Files that a person put there, and whose content a bucket has no more."""
    labels = layout.labels(survey)
    found = [path for path in labels.rglob("[!.]*") if path.parent.name not in ("events", "rankings")]
    found += [layout.artefact_review(survey), layout.cluster_worksheet(survey), *layout.surveys.glob(f"{survey}.*")]
    found += layout.weights.rglob("[!.]*")
    for path in sorted(found):
        try:
            if path.is_file() and ".damaged" not in path.parts:
                store_of(path).local(path)
        except DamagedFile as error:
            yield Flaw(path, error.words)


def _repair_labels(path: Path, labels: Path) -> str:
    """Keep the events that can be read, and set the file aside."""
    if path.parent.name != "events":
        return f"kept as {set_aside(path, labels)}"
    saved, lost = LabelLog(labels).salvage(path)
    aside = set_aside(path, labels)
    of = "how many more there were cannot be told" if lost is None else f"{lost} are lost"
    return f"{saved} events were saved, {of}; kept as {aside}; restore that file from a backup if you have one"
