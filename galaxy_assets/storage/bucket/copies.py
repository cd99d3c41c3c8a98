"""What this machine knows of a bucket: the heads as they were last seen, and which of the files it has copies of.

It is a SQLite file in the folder of copies, which all processes of this machine share and which may be deleted with
that folder.

Belongs here: that record. Does not belong here: fetching and removing copies (`bucket`).
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.bucket.heads import Head
from galaxy_assets.storage.locks import held
from galaxy_assets.storage.store import StoreError

log = logger(__name__)

_TABLES = """
create table if not exists heads (name text primary key, token text not null, head text not null);
create table if not exists copies (name text primary key, token text not null, whole integer not null,
    size integer not null, state text not null);
"""


DAMAGED = "damaged"
"""Before the token of what stands for damaged content, and what the bucket says of that, which each look asks again."""
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class DamagedRecord(StoreError):
    """The record could not be read; it is set aside, and another one begun."""


class Copy(NamedTuple):
    """What lies at the path of a file.

    Attributes
    ----------
    token : str
        Of the head that it is a copy of.
    whole : bool
        Whether the content is there; else an empty file stands in its place.
    size : int
        Bytes of the content.
    state : str
        `files.state_of` of the file when it was put there.
    """

    token: str
    whole: bool
    size: int
    state: str


class Copies:
    """The record of one folder of copies. Safe to use from several processes and threads.

    Parameters
    ----------
    path : Path
        Its file.
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            self._make()
        except DamagedRecord as error:
            log.warning("%s", error)  # it is made anew by now

    def _make(self) -> None:
        with self._open() as db:
            db.executescript(f"pragma journal_mode = wal; {_TABLES}")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Raises DamagedRecord, after another one was begun, where the record cannot be read."""
        try:
            with closing(sqlite3.connect(self._path, timeout=60)) as db, db:
                db.execute("pragma synchronous = off")  # it may be lost: it is then made anew
                yield db
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) not in _DAMAGE:
                raise
            self._begin_anew()
            raise DamagedRecord(
                f"{self._path} was damaged ({error}) and is begun anew, the old one beside it; run the same again, and "
                "what is needed is fetched again"
            ) from error

    def _begin_anew(self) -> None:
        """Set a damaged record aside, unless another process has just done so."""
        with held(self._path.with_name(f"{self._path.name}.lock")):
            if not self._is_damaged():
                return
            for ending in ("-wal", "-shm"):
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
            self._path.replace(self._path.with_name(f"{self._path.name}.damaged"))
            self._make()

    def _is_damaged(self) -> bool:
        try:
            with closing(sqlite3.connect(self._path, timeout=60)) as db:
                return db.execute("pragma quick_check").fetchone() != ("ok",)
        except sqlite3.DatabaseError as error:
            return getattr(error, "sqlite_errorcode", None) in _DAMAGE

    def tokens(self) -> dict[str, str]:
        """Name -> token of every head."""
        with self._open() as db:
            return dict(db.execute("select name, token from heads"))

    def head(self, name: str) -> tuple[str, Head] | None:
        """Token and head of a name; None where there is none."""
        with self._open() as db:
            return _head(db, name)

    def heads(self) -> Iterator[tuple[str, Head]]:
        """Name and head of all."""
        with self._open() as db:
            for name, text in db.execute("select name, head from heads"):
                yield name, Head.from_json(text)

    def learn(self, found: Mapping[str, tuple[str, Head] | None]) -> None:
        """Take down heads as they were found; None where there is none."""
        with self._open() as db:
            for name, known in found.items():
                if known is None:
                    db.execute("delete from heads where name = ?", [name])
                else:
                    token, head = known
                    db.execute("insert or replace into heads values (?, ?, ?)", [name, token, head.to_json()])

    def lost(
        self,
        found: Mapping[str, tuple[str, Head] | None],
        known: Mapping[str, str],
        is_before: Callable[[str, str], bool],
    ) -> list[str]:
        """Names whose heads were known and are not there any more, or are those of long ago.

        What is removed has a head that says so; only that of an event goes in the end.
        """
        lost = []
        for name, one in found.items():
            if one is not None:
                before = name in known and is_before(one[0], known[name])
            else:
                last = self.head(name) if name in known and "/events/" not in name else None
                before = last is not None and bool(last[1].files)
            lost += [name] if before else []
        return lost

    def copy(self, name: str) -> Copy | None:
        """What lies at the path of a name; None where nothing was put there."""
        with self._open() as db:
            return _copy(db, name)

    def head_and_copy(self, name: str) -> tuple[tuple[str, Head] | None, Copy | None]:
        """As `head` and `copy` answer, of one moment."""
        with self._open() as db:
            db.execute("begin")
            return _head(db, name), _copy(db, name)

    def damaged_objects(self) -> set[str]:
        """The objects of what was set aside, and of what something stands for since its content was damaged."""
        with self._open() as db:
            found = db.execute(
                "select head from heads left join copies using (name) "
                f"where name like '%/.damaged/%' or copies.token like '{DAMAGED} %'"
            ).fetchall()
        return set().union(*(Head.from_json(text).keys for (text,) in found))

    def damaged(self) -> set[str]:
        """Names for whose damaged content something stands."""
        with self._open() as db:
            return {name for (name,) in db.execute(f"select name from copies where token like '{DAMAGED} %'")}

    def put(self, placed: Iterable[tuple[str, Copy]]) -> None:
        """Take down what was put at the paths of names."""
        with self._open() as db:
            rows = [(name, *copy) for name, copy in placed]
            db.executemany("insert or replace into copies values (?, ?, ?, ?, ?)", rows)

    def drop(self, names: Iterable[str]) -> None:
        """Forget what was put at the paths of names."""
        with self._open() as db:
            db.executemany("delete from copies where name = ?", [[name] for name in names])

    def behind(self) -> list[str]:
        """Names of which what lies at the path is of another head than the one known, or of none."""
        with self._open() as db:
            heads = "select name from heads left join copies using (name) where copies.token is not heads.token"
            lost = "select name from copies left join heads using (name) where heads.token is null"
            return [name for (name,) in db.execute(f"{heads} union {lost}")]

    def whole(self) -> dict[str, int]:
        """Name -> bytes of every copy whose content is there."""
        with self._open() as db:
            return dict(db.execute("select name, size from copies where whole"))


def _head(db: sqlite3.Connection, name: str) -> tuple[str, Head] | None:
    found = db.execute("select token, head from heads where name = ?", [name]).fetchone()
    return None if found is None else (found[0], Head.from_json(found[1]))


def _copy(db: sqlite3.Connection, name: str) -> Copy | None:
    found = db.execute("select token, whole, size, state from copies where name = ?", [name]).fetchone()
    return None if found is None else Copy(found[0], bool(found[1]), found[2], found[3])
