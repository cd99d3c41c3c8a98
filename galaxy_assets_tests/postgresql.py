"""A PostgreSQL server on a free port of 127.0.0.1, for as long as a test needs it.

Its programs come from the system (`apt-get install postgresql`). They refuse to run as the administrator, who therefore
runs them as user `postgres`, or `nobody` where there is none.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from galaxy_assets_tests.explorer.browser import free_port

_TO_START, _TO_STOP = 120, 60


@dataclass(frozen=True)
class Postgres:
    """A database of such a server."""

    port: int
    database: str = "postgres"
    host: str = "127.0.0.1"
    user: str = "galaxies"
    password: str = "not:a@word/7f3a9c"
    """Holds what must be quoted in a URL."""

    @property
    def url(self) -> str:
        """For SQLAlchemy."""
        login = f"{quote(self.user)}:{quote(self.password, safe='')}"
        return f"postgresql+psycopg2://{login}@{self.host}:{self.port}/{self.database}"

    @property
    def environment(self) -> dict[str, str]:
        """What psql, psycopg2 and dagster.cluster.yaml read."""
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGDATABASE": self.database,
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
        }

    def new(self, database: str) -> "Postgres":
        """Make a database beside this one."""
        import psycopg2

        connection = psycopg2.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, dbname=self.database
        )
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'create database "{database}"')
        connection.close()
        return Postgres(self.port, database)


def programs() -> Path | None:
    """The folder of the server's programs, the newest where there are several."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    installed = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((one.parent for one in installed), key=lambda folder: int(folder.parent.name), default=None)


@contextmanager
def server(folder: Path) -> Iterator[Postgres]:
    """Start a server of the programs in a folder, and stop it in the end."""
    with new_home(folder) as home, running(folder, home, free_port()) as postgres:
        yield postgres


@contextmanager
def new_home(folder: Path) -> Iterator[Path]:
    """Make the folder of a server's data, which is gone in the end."""
    home = Path(tempfile.mkdtemp(prefix="postgres_"))
    who = _someone_else()
    if who:
        shutil.chown(home, who["user"], who["group"])
    try:
        password = home / "password"
        password.write_text(Postgres(0).password)
        make = [folder / "initdb", "--pgdata", home / "data", "--username", Postgres(0).user, "--pwfile", password]
        make += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        password.chmod(0o644)
        subprocess.run(make, cwd=home, check=True, capture_output=True, **who)
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def running(folder: Path, home: Path, port: int) -> Iterator[Postgres]:
    """Start the server whose data is in `home`, and stop it in the end; it can be started again."""
    run = [folder / "postgres", "-D", home / "data", "-p", str(port), "-h", "127.0.0.1", "-k", home, "-F"]
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(run, cwd=home, stdout=log, stderr=log, **_someone_else()) as process,
    ):
        try:
            _wait(process, folder, port, home / "log")
            yield Postgres(port)
        finally:
            process.send_signal(signal.SIGINT)  # ends connections, then itself
            try:
                process.wait(_TO_STOP)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)


def _wait(process: subprocess.Popen, folder: Path, port: int, log: Path) -> None:
    until = time.monotonic() + _TO_START
    ask = [folder / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-q"]
    while subprocess.run(ask).returncode:
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"PostgreSQL does not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)


def _someone_else() -> dict[str, Any]:
    """Who runs the server, where the administrator runs the tests."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL refuses to run as the administrator, and there is no user postgres or nobody")
