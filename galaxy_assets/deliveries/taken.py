"""Which ids a delivery may not give its images, since an earlier one has them.

The delivery whose name sorts first keeps an id. The rule knows no time: whichever delivery is looked at first, or both
at once, the answer is the same. That delivery is told too where a row of the table of labels has the id: without a
folder before it, the row could be about either image.

Belongs here: finding these ids, over the images of all deliveries. Does not belong here: what becomes of an image whose
id is taken (`readers`), what an image is called (`ids`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from galaxy_assets.deliveries.ids import key_of, keys_meant, only_rows
from galaxy_assets.storage.tables import read_table

TAKEN = pa.schema(
    [("batch", pa.string()), ("galaxy_id", pa.string()), ("kept_by", pa.string()), ("sha256", pa.string())]
)


class _Image(NamedTuple):
    """An image of a delivery: its id there, and its bytes."""

    galaxy_id: str
    sha256: str | None


def taken_ids(images: Sequence[tuple[str, Path]], labels: Sequence[str] = (), by_name: bool = True) -> pa.Table:
    """Ids that images of earlier deliveries have, for each delivery with an image that would have that id.

    An id that differs in case or in zeros alone is among them too, and one with folders that a row of the table of
    labels names: that row is about the image that has the id, and not about a later one.

    Parameters
    ----------
    images : sequence of (str, Path)
        Each delivery, and the file of its images: `galaxy_id`, `sha256` and `problem`. Duplicates within the delivery
        have the problem `duplicate_id`.
    labels : sequence of str
        How the rows of the survey's table of labels name their images.
    by_name : bool
        Whether ids are made of the names of files; a table's own ids mean one image each.

    Returns
    -------
    pyarrow.Table
        In TAKEN, sorted by delivery and id. `kept_by` is the delivery itself where it keeps an id that is the name of
        another image of a later delivery, and a row may mean that id.

    Notes
    -----
    Time and memory are linear in the images: all of them are held as a number of 64 bits, and only those that may be
    called alike by name.
    """
    ordered = sorted(images)
    shared = _shared(path for _, path in ordered)
    # what an id without folders may be called too -> ids -> their bytes, each with the first delivery that has them
    kept: dict[str, dict[str, dict[str | None, str]]] = defaultdict(lambda: defaultdict(dict))
    named, meant, rows = only_rows(labels), keys_meant(labels if by_name and shared else ()), []
    keeper: dict[str, tuple[str, str | None]] = {}  # of each name that a row may mean
    others: dict[str, set[str]] = defaultdict(set)  # deliveries with another image of that name
    for batch, path in ordered if shared else ():
        own = [(key_of(one.galaxy_id), one) for one in _images(path)]
        own = [(key, one) for key, one in own if hash(key) in shared]
        taken = {}
        for key, one in own:
            if key in meant:
                name = one.galaxy_id.rpartition("/")[2]
                if "/" in one.galaxy_id or (name in keeper and one.sha256 not in kept[key][name]):
                    others[name].add(batch)
                else:
                    keeper.setdefault(name, (batch, one.sha256))
            if "/" in one.galaxy_id:  # its folders tell it apart
                continue
            for galaxy_id, by in kept[key].items():
                same = galaxy_id == one.galaxy_id and one.sha256 in by
                sha256 = one.sha256 if same else next(iter(by))
                taken[galaxy_id] = (batch, galaxy_id, by[sha256], sha256)
        rows += taken.values()
        for key, one in own:
            if "/" not in one.galaxy_id or one.galaxy_id in named:
                kept[key][one.galaxy_id].setdefault(one.sha256, batch)
    rows += [(batch, name, batch, sha256) for name, (batch, sha256) in keeper.items() if others[name] - {batch}]
    columns = list(zip(*sorted(rows, key=lambda row: row[:2]), strict=True)) or [()] * len(TAKEN)
    return pa.table([pa.array(column, pa.string()) for column in columns], TAKEN)


def _shared(paths: Iterable[Path]) -> set[int]:
    """Hashes of the keys that images of more than one delivery have."""
    found = [np.unique(np.fromiter((hash(key_of(one.galaxy_id)) for one in _images(path)), np.int64)) for path in paths]
    values, counts = np.unique(np.concatenate([np.empty(0, np.int64), *found]), return_counts=True)
    return set(values[counts > 1].tolist())


def _images(path: Path) -> Iterator[_Image]:
    """The images of a delivery but its duplicates."""
    table = read_table(path, ["galaxy_id", "sha256", "problem"])
    columns = (table[name].to_pylist() for name in table.column_names)
    return (_Image(one, sha256) for one, sha256, problem in zip(*columns, strict=True) if problem != "duplicate_id")
