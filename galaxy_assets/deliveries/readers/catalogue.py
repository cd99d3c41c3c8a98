"""What every reader's tables look like: the columns of a catalogue and of a table of labels, and ids told apart.

Belongs here: what readers of any layout share of their tables. Does not belong here: reading anything.
"""

from collections import Counter
from collections.abc import Collection, Sequence

import pyarrow as pa

CATALOGUE_SCHEMA = pa.schema(
    [
        ("galaxy_id", pa.string()),
        ("batch", pa.string()),
        ("file", pa.string()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("ra", pa.float64()),
        ("dec", pa.float64()),
        ("label", pa.string()),
        ("problem", pa.string()),
        ("reason", pa.string()),
    ]
)
"""Columns of every catalogue: pixels for width and height, degrees for ra and dec; `problem` is null or one of
`unreadable`, `too_small`, `too_large`, `duplicate_id`, and `reason` says it in words."""

LABELLED_SCHEMA = pa.schema(
    [("galaxy_id", pa.string()), ("label", pa.string()), ("ra", pa.float64()), ("dec", pa.float64())]
)
"""What a table of labels says of each galaxy: its name as the images are called, class, position in degrees."""


def distinct_ids(names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Make ids of names that may be equal.

    Parameters
    ----------
    names : sequence of str
        Of the images.
    taken : Collection of str
        Ids that images of other deliveries have.

    Returns
    -------
    list of str
        In the order of `names`. The first of equal names keeps it unless it is `taken`; the others get `#2`, `#3`, if
        no other has that.
    """
    used, seen, ids = {*names, *taken}, Counter(set(taken)), []
    for name in names:
        seen[name] += 1
        candidate = name
        while seen[name] > 1 and (candidate := f"{name}#{seen[name]}") in used:
            seen[name] += 1
        used.add(candidate)
        ids.append(candidate)
    return ids
