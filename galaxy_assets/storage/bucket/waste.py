"""Content of a bucket that no head names.

Belongs here: which objects are old, and removing those that are not named. Does not belong here: heads (`heads`).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from galaxy_assets.storage.bucket.names import is_ours
from galaxy_assets.storage.bucket.objects import Objects

_AT_ONCE = 16
"""Objects that are looked at once more and removed at once: what is written in between would be lost."""


def old_objects(objects: Objects, until: float) -> list[str]:
    """Content that may be waste.

    Parameters
    ----------
    objects : Objects
    until : float
        Seconds since 1970: what was written later may be about to be named.

    Returns
    -------
    list of str
        Keys.
    """
    there = [one for kind in ("data", "chunks") for one in objects.listed(kind)]
    return [one.key for one in there if one.written.timestamp() < until and is_ours(one.key)]


def removed(objects: Objects, keys: Sequence[str], until: float) -> list[str]:
    """Remove content, unless it was written again since it was listed.

    Parameters
    ----------
    objects : Objects
    keys : sequence of str
        Of `old_objects`, as far as no head names them.
    until : float
        As for `old_objects`.

    Returns
    -------
    list of str
        What was removed.
    """
    found = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(keys), _AT_ONCE):
            there = [one for one in pool.map(objects.stated, keys[start : start + _AT_ONCE]) if one is not None]
            old = [one.key for one in there if one.written.timestamp() < until]
            objects.delete(old)
            found += old
    return found
