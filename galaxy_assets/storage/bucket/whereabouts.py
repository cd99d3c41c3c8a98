"""Where the heads of a bucket are, in which everybody who works with it must agree.

The object `heads-are-in` says `bucket`, or `postgresql` and the identity that the database gave the folder. Other
heads, of another database or address, would name none of the content, so that a sweep took all of it for waste.

Belongs here: that object, and whether a bucket can be worked with at all. Does not belong here: heads (`heads`,
`postgres_heads`).
"""

import os
import uuid
from typing import Any

from galaxy_assets.storage.bucket.heads import Heads, HeadsInBucket
from galaxy_assets.storage.bucket.objects import BucketAway, BucketError, Changed, Missing, Objects
from galaxy_assets.storage.bucket.postgres_heads import HEADS, HeadsInPostgres

_WHERE = "heads-are-in"
_OURS = ("heads", "data", "chunks")
"""Folders of the bucket in which objects are written and removed."""


def heads_of(objects: Objects) -> Heads:
    """The heads, where the environment says they are, and the bucket that they have always been.

    Parameters
    ----------
    objects : Objects
        Of the bucket.

    Returns
    -------
    Heads

    Raises
    ------
    BucketError
        Where that is not the same; where the bucket holds what somebody else put into folders that would be used;
        where it does not keep two writers apart.
    """
    database = os.environ.get(HEADS)
    heads = HeadsInPostgres(database, objects.address) if database else HeadsInBucket(objects)
    here = f"postgresql {heads.identity()}" if isinstance(heads, HeadsInPostgres) else "bucket"
    there, token = _told(objects)
    if there is None:
        used = next((folder for folder in _OURS if objects.any_below(folder)), None)
        named = len(heads.tokens())
        there, token = _told(objects)  # again: another machine may have begun meanwhile
        if there is None and used is not None:
            raise BucketError(
                f"{objects.address} has objects in {used}/ and is no data folder: there is no {_WHERE}. Name a prefix "
                f"of its own, such as {objects.address}/galaxies; if it was one, put {_WHERE} back"
            )
        if there is None and named:
            raise BucketAway(
                f"{objects.address} holds nothing, and the database that {HEADS} names has heads of {named:,} files "
                "that were in it; nothing was changed. Correct the address or the endpoint, or bring the bucket back "
                "from its backup; to begin a new data folder, name another prefix"
            )
    if there is None:
        _check_writers_are_kept_apart(objects)
    if there is None or (there == "postgresql" and database and heads.tokens()):  # that was all it said once
        try:
            objects.swap(_WHERE, here.encode(), token)
            return heads
        except Changed:
            there, _ = _told(objects)
    if there == here:
        return heads
    kind = str(there).partition(" ")[0]
    if kind != here.partition(" ")[0]:
        raise BucketError(
            f"the heads of {objects.address} are in {kind}, and {HEADS} is {'' if database else 'not '}set; "
            "say the same on every machine"
        )
    raise BucketError(
        f"the heads of {objects.address} are in another database than the one that {HEADS} names, which knows nothing "
        "of it; name that one, or restore it from its backup"
    )


def must_be_there(objects: Objects) -> None:
    """Raises BucketAway where the bucket says that there is nothing of what every data folder in one has."""
    if _told(objects)[0] is None:
        raise BucketAway(
            f"{objects.address} answers as if it held nothing: there is no {_WHERE}; check its address and the "
            "endpoint in the environment, or try again later"
        )


def _told(objects: Objects) -> tuple[str | None, str | None]:
    """What the object says, and its token; None where there is none."""
    try:
        content, token = objects.get(_WHERE)
    except Missing:
        return None, None
    return content.decode(), token


def _check_writers_are_kept_apart(objects: Objects) -> None:
    """Raises BucketError where a bucket takes no notice of a condition."""
    key = f"probe-{uuid.uuid4().hex}"
    first = objects.swap(key, b"first", None)
    try:
        ignored = _goes_through(objects, key, b"second", None)
        if not ignored:
            condition = objects.condition(key, first)
            objects.swap(key, b"third", first)
            ignored = _goes_through(objects, key, b"fourth", first, condition)
    finally:
        objects.delete([key])
    if ignored:
        raise BucketError(
            f"{objects.address} takes no notice of If-Match or If-None-Match, so that two writers are not kept apart; "
            "take a bucket that does (docs/shared-storage.md)"
        )


def _goes_through(objects: Objects, key: str, content: bytes, seen: str | None, condition: Any = None) -> bool:
    try:
        objects.swap(key, content, seen, condition)
    except Changed:
        return False
    return True
