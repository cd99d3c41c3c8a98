"""Heads in PostgreSQL: one question for all of them, where a survey has more files than a bucket lists in a moment.

$GALAXY_ASSETS_HEADS is the address of the database, `postgresql://host/database`; the password is in it, or in
PGPASSWORD or ~/.pgpass. `psycopg2` comes with the extra `galaxy-assets[cluster]`.

Belongs here: heads as rows. Does not belong here: what a head says (`heads`), Dagster's own tables.
"""

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.bucket.heads import Head
from galaxy_assets.storage.bucket.objects import BucketAway, BucketError, Changed
from galaxy_assets.storage.owners import SILENT

log = logger(__name__)

HEADS = "GALAXY_ASSETS_HEADS"
_TABLE = """
create sequence if not exists galaxy_assets_token;
create table if not exists galaxy_assets_heads (
    folder text not null, name text not null, token bigint not null, head text not null, primary key (folder, name)
);
create table if not exists galaxy_assets_folders (folder text primary key, identity text not null);
"""
_MADE = ("galaxy_assets_token", "galaxy_assets_heads", "galaxy_assets_folders")
_RIGHTS = (
    "select, insert, update and delete on galaxy_assets_heads, select and insert on galaxy_assets_folders and usage on "
    "galaxy_assets_token"
)
_LOCK = 4_207_849_484
"""Held while the table is made: `if not exists` does not keep two sessions apart."""
_LOOK = 0.5
"""Seconds between tries while the database does not answer."""
_Answer = TypeVar("_Answer")


class HeadsInPostgres:
    """The heads of one data folder as rows. Safe to use from several threads.

    Parameters
    ----------
    database : str
        Address of the database.
    folder : str
        Address of the bucket: a database may hold the heads of several.

    Raises
    ------
    BucketError
        Where the extra is not installed, or the database does not answer or refuses.
    """

    def __init__(self, database: str, folder: str):
        try:
            import psycopg2
        except ImportError as error:
            raise BucketError(
                f"{HEADS} is set, which needs the extra for clusters: pip install 'galaxy-assets[cluster]'"
            ) from error
        self._psycopg2: Any = psycopg2
        self._database, self._folder = database.replace("postgresql+psycopg2://", "postgresql://", 1), folder
        self._connection: Any = None
        self._answered = False
        self._mutex = threading.Lock()
        self._asked(_make)
        self._identity = self.identity()

    def identity(self) -> str:
        """What this database calls the folder, at random; a name is given where it has none."""

        def ask(cursor: Any) -> str:
            new = "insert into galaxy_assets_folders values (%s, %s) on conflict do nothing"
            cursor.execute(new, [self._folder, uuid.uuid4().hex])
            return self._called(cursor)

        return self._asked(ask)

    def _called(self, cursor: Any) -> str:
        cursor.execute("select identity from galaxy_assets_folders where folder = %s", [self._folder])
        return row[0] if (row := cursor.fetchone()) is not None else ""

    def tokens(self) -> dict[str, str]:
        """As `Heads.tokens`; raises BucketError where it is another database that answers by now."""

        def ask(cursor: Any) -> dict[str, str]:
            if self._called(cursor) != self._identity:
                raise BucketError(
                    f"{HEADS} leads to another database than before, which knows nothing of {self._folder}"
                )
            cursor.execute("select name, token::text from galaxy_assets_heads where folder = %s", [self._folder])
            return dict(cursor.fetchall())

        return self._asked(ask)

    def read(self, names: Iterable[str]) -> dict[str, tuple[str, Head] | None]:
        """As `Heads.read`."""
        wanted = list(names)

        def ask(cursor: Any) -> list[tuple[str, str, str]]:
            query = "select name, token::text, head from galaxy_assets_heads where folder = %s and name = any(%s)"
            cursor.execute(query, [self._folder, wanted])
            return cursor.fetchall()

        found = {name: (token, Head.from_json(text)) for name, token, text in (self._asked(ask) if wanted else ())}
        return {name: found.get(name) for name in wanted}

    def swap(self, name: str, head: Head, seen: str | None) -> str:
        """As `Heads.swap`."""
        text = head.to_json()

        def ask(cursor: Any) -> str | None:
            if seen is None:
                cursor.execute(
                    "insert into galaxy_assets_heads values (%s, %s, nextval('galaxy_assets_token'), %s) "
                    "on conflict do nothing returning token::text",
                    [self._folder, name, text],
                )
            else:
                cursor.execute(
                    "update galaxy_assets_heads set token = nextval('galaxy_assets_token'), head = %s "
                    "where folder = %s and name = %s and token = %s returning token::text",
                    [text, self._folder, name, int(seen)],
                )
            if (row := cursor.fetchone()) is not None:
                return row[0]
            # the answer to an earlier try may have been lost: then the row is this one
            cursor.execute(
                "select token::text from galaxy_assets_heads where folder = %s and name = %s and head = %s",
                [self._folder, name, text],
            )
            return row[0] if (row := cursor.fetchone()) is not None else None

        token = self._asked(ask)
        if token is None:
            raise Changed
        return token

    def forget(self, name: str) -> None:
        """As `Heads.forget`."""
        gone = "delete from galaxy_assets_heads where folder = %s and name = %s"
        self._asked(lambda cursor: cursor.execute(gone, [self._folder, name]))

    def is_before(self, token: str, other: str) -> bool:
        """As `Heads.is_before`: they are numbers that grow."""
        return int(token) < int(other)

    def _asked(self, ask: Callable[[Any], _Answer]) -> _Answer:
        """The answer of one transaction; asked again over a new connection where the old one ended.

        A database that answered before is waited for, as while it starts anew. Raises BucketError, in words that hold
        the database's answer and never the address, and that the password.
        """
        with self._mutex:
            until = time.monotonic() + (SILENT if self._answered else 0.0)
            for tried in itertools.count():
                try:
                    if self._connection is None or self._connection.closed:
                        self._connection = self._psycopg2.connect(self._database, connect_timeout=30)
                    with self._connection, self._connection.cursor() as cursor:
                        answer = ask(cursor)
                    self._answered = True
                    return answer
                except self._psycopg2.Error as error:
                    if self._connection is not None:
                        self._connection.close()
                    ended = isinstance(error, self._psycopg2.OperationalError | self._psycopg2.InterfaceError)
                    if not ended or time.monotonic() > until:
                        raise BucketAway(self._in_words(error)) from None
                if tried == 1:  # at once the first time: a connection that nobody used for long may have ended
                    log.warning("the database that %s names does not answer; waiting for it", HEADS)
                if tried:
                    time.sleep(_LOOK)
            raise AssertionError

    def _in_words(self, error: Any) -> str:
        # an error without an answer of the server may quote the address
        said = error.diag.message_primary or type(error).__name__
        if isinstance(error, self._psycopg2.errors.InsufficientPrivilege):
            return (
                f"the database that {HEADS} names: {said}; grant its user {_RIGHTS}, or let its owner make the tables "
                "by starting once"
            )
        if isinstance(error, self._psycopg2.OperationalError | self._psycopg2.InterfaceError):
            return (
                f"the database that {HEADS} names does not answer ({said}); start it, or correct the address in the "
                "environment"
            )
        return (
            f"the database that {HEADS} names refuses ({said}); name one that can be written to, or correct the "
            "address in the environment"
        )


def _make(cursor: Any) -> None:
    """Make the tables, which needs the right to even where they are there."""
    cursor.execute(f"select {', '.join(f'to_regclass({name!r})' for name in _MADE)}")
    if None in cursor.fetchone():
        cursor.execute(f"select pg_advisory_xact_lock({_LOCK}); {_TABLE}")
