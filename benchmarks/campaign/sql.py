"""Hostile SQL, asked as the explorer asks what a person wrote.

`{secret}` is a file outside the data folder whose content must never be in an answer, `{out}` a folder that must stay
empty, `{lake}` the lake, `{web}` an address that counts who calls, `{table}` a table that a query may read.

Belongs here: the statements and what must hold. Does not belong here: how a query is asked (`lake.query_process`).
"""

import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil

from campaign.world import SURVEY, Reference

REFUSED = {
    "reading files": [
        "select * from read_csv('{secret}')",
        "select * from read_csv_auto('{secret}', header = false)",
        "from '{secret}'",
        'from "{secret}"',
        "from read_text('{secret}')",
        "from read_text('file://{secret}')",
        "from read_text('{lake}/../../secret.txt')",
        "from read_text(['{secret}'])",
        "from read_text('{lake}/*/../../../secret.txt')",
        "from (from read_blob('{secret}'))",
        "with x as (from read_text('{secret}')) from x",
        "select (select content from read_text('{secret}'))",
        "select * from {table} where (select count(*) from read_text('{secret}')) > 0",
        "select * from {table} order by (select content from read_text('{secret}'))",
        "from glob('/etc/*')",
        "from glob('{out}/../*')",
        "from read_json('{secret}')",
        "from read_ndjson_objects('{secret}')",
        "from parquet_metadata('{secret}')",
        "from parquet_schema('/proc/self/environ')",
        "from read_text('/proc/self/environ')",
        "from read_blob('/proc/self/mem')",
        "from sniff_csv('{secret}')",
        "from read_parquet('/etc/*.parquet')",
        "from query('from read_text(''{secret}'')')",
        "from query_table('{secret}')",
        "from sqlite_scan('{secret}', 'x')",
        "from iceberg_scan('{out}')",
        "from read_xlsx('{secret}')",
        "from st_read('{secret}')",
        "from read_csv('/dev/stdin')",
        "from read_text(concat('{out}', '/../secret.txt'))",
        "from read_duckdb('{out}/x.db')",
    ],
    "writing files": [
        "copy (select 1) to '{out}/x.csv'",
        "copy (select 1) to '{lake}/x.csv'",
        "copy (select 1) to '{lake}/../x.parquet' (format parquet)",
        "copy {table} to '/dev/stdout'",
        "copy (select 1) to '{out}' (format parquet, partition_by (a))",
        "with x as (copy (select 1) to '{lake}/x.csv') select * from x",
        "with x as materialized (copy {table} to '{out}/x.csv') from {table}",
        "explain analyze copy (select 1) to '{lake}/x.csv'",
        "export database '{lake}/x'",
        "import database '{out}'",
        "select 1; copy (select 1) to '{lake}/x.csv'",
        "select 1) limit 1; copy (select 1) to '{lake}/x.csv'; from (select 1",
        "select 1 /* ; */ ) ; copy (select 1) to '{out}/x' ; select (1",
        "select 1 -- )\n) t; copy (select 1) to '{out}/x.csv'; from (select 1",
        "create table x as select 1",
        "create view x as select 1",
        "create macro f(x) as x + 1",
        "create secret s (type s3, key_id 'a', secret 'b')",
        "insert into {table} select * from {table}",
        "delete from {table}",
        "update {table} set galaxy_id = 'x'",
        "drop view {table}",
        "alter table {table} rename to y",
        "checkpoint",
        "vacuum",
        "prepare p as select 1",
        "execute p",
        "begin transaction",
        "truncate {table}",
    ],
    "databases and extensions": [
        "attach '{out}/x.db' as x",
        "attach '{lake}/x.db' as x",
        "attach ':memory:' as x",
        "attach '{web}/x.db' as x",
        "attach 'host=127.0.0.1' as pg (type postgres)",
        "detach galaxy",
        "use memory",
        "install httpfs",
        "install '{out}/x.duckdb_extension'",
        "force install httpfs from '{web}'",
        "load httpfs",
        "load '{out}/x.duckdb_extension'",
        "update extensions",
    ],
    "settings": [
        "set enable_external_access = true",
        "set lock_configuration = false",
        "reset lock_configuration",
        "set memory_limit = '100GB'",
        "set temp_directory = '{out}'",
        "set allowed_directories = ['/']",
        "set python_enable_replacements = true",
        "set home_directory = '{out}'",
        "set log_query_path = '{out}/log'",
        "set enable_profiling = 'json'",
        "set profiling_output = '{out}/profile'",
        "set threads = 1000",
        "set variable galaxy_data = '{out}'",
        "pragma enable_profiling",
        "pragma database_list",
        "pragma profile_output = '{out}/profile'",
        "call enable_logging(storage = 'file', storage_path = '{out}')",
        "call pragma_version()",
        "call force_checkpoint()",
    ],
    "the network": [
        "from read_csv('{web}/x.csv')",
        "from read_parquet('{web}/x.parquet')",
        "from '{web}/x.csv'",
        "from read_text('{web}/x')",
        "from read_csv('s3://bucket/x.csv')",
        "from read_json('hf://datasets/x/y.json')",
        "copy (select 1) to '{web}/x.csv'",
    ],
    "this process": ["from layout", "from lake", "from os", "from request", "select getenv('HOME')", ""],
}
"""What must be refused, by what it is after."""
BOUNDED = {
    "memory": [
        "select range(500000000)",
        "select repeat('x', 2000000000)",
        "select length(repeat('x', 700000000)) > 1",
        "select format('{{:>2000000000}}', 1)",
        "select printf('%2000000000d', 1)",
        "select bitstring('1', 2000000000)",
        "select list(i) from range(300000000) t(i)",
        "select string_agg(repeat('x', 1000), '') from range(5000000)",
        "select * from range(100000000) a(i) order by hash(i)",
        "select array_agg(i order by random()) from range(100000000) t(i)",
        "select rpad('x', 2000000000, 'y')",
        "select lpad('x', 2000000000, 'y')",
        "select generate_series(1, 400000000)",
        "select histogram(i) from range(100000000) t(i)",
        "select i, repeat('x', 100000) from range(1000000) t(i)",
        "select json_group_array(repeat('x', 1000)) from range(3000000)",
        "select map_from_entries(list((i, i))) from range(50000000) t(i)",
    ],
    "time": [
        "select count(*) from range(1000000) a, range(1000000) b",
        "with recursive t(n) as (select 1 union all select n + 1 from t) select max(n) from t",
        "select regexp_matches(repeat('a', 100000), '(a*)*b')",
        "select sum(hash(a.i + b.i)) from range(10000000) a(i), range(10000) b(i)",
        "select levenshtein(repeat('x', 200000), repeat('y', 200000))",
        "with recursive f(a, b) as (select 1, 1 union all select b, a % 1000 + b % 1000 from f) from f",
        "select list_reduce(range(5000000), lambda x, y: x + y % 7)",
        "select " + "(" * 3000 + "1" + ")" * 3000,
        "select " + " + ".join(["1"] * 20_000),
        "select count(*) from {table} a, {table} b, {table} c, {table} d, {table} e, {table} f",
    ],
}
"""What may be answered or refused, within the limits."""
OVER = 400
"""MB above what the process that answers holds before it is asked, and above its limit, that are not counted: imports,
and an answer that is copied."""


def _listing(*folders: Path) -> dict[str, tuple[int, int]]:
    paths = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in paths}


@contextmanager
def _called() -> Iterator[tuple[str, list[str]]]:
    """A web server that notes who calls: its address, and the paths asked for so far."""
    calls: list[str] = []

    class Counts(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            self.send_error(404)

        do_HEAD = do_PUT = do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Counts) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", calls
        server.shutdown()


class _Memory:
    """The most that processes started from this one held together, MB."""

    def __init__(self) -> None:
        self.most, self._on = 0.0, True
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self._on:
            held = 0
            for child in psutil.Process().children(recursive=True):
                try:
                    held += child.memory_info().rss
                except psutil.Error:
                    continue
            self.most = max(self.most, held / 1e6)
            time.sleep(0.01)

    def stop(self) -> float:
        self._on = False
        return self.most


def asked(reference: Reference, statements: list[str], refused: bool) -> dict[str, Any]:
    """Ask each statement and say what is not as it should be."""
    try:
        from galaxy_assets.explorer.view import LIMITS
        from galaxy_assets.lake.query_process import PersonsQueries
    except ImportError:
        return {"skipped": "no process for a person's queries in this version", "wrong": []}
    from galaxy_assets.lake.query import QueryError
    from galaxy_assets.storage.layout import Layout

    os.environ["CAMPAIGN_SECRET"] = secret = "dbe9f1-the-secret"
    wrong, counts, most, slowest = [], Counter(), 0.0, 0.0
    with reference.at(None) as root, tempfile.TemporaryDirectory() as folder, _called() as (web, calls):
        out = Path(folder) / "out"
        out.mkdir()
        for place in (Path(folder) / "secret.txt", root.parent / "secret.txt", root / "secret.txt"):
            place.write_text(f"{secret}\n")
        names = {
            "secret": Path(folder) / "secret.txt",
            "out": out,
            "lake": root / "lake",
            "web": web,
            "table": f"{SURVEY}.cutouts",
        }
        with PersonsQueries(Layout(root), LIMITS) as queries:
            for statement in statements:
                sql = statement.format(**names)
                before, began, memory = _listing(out, root), time.monotonic(), _Memory()
                try:
                    answer = queries.ask(sql)
                    outcome, told = "answered", str(answer.slice(0, 20).to_pylist())
                except QueryError as error:
                    outcome, told = "refused", str(error)
                except Exception as error:
                    outcome, told = "other error", f"{type(error).__name__}: {error}"
                seconds, held = time.monotonic() - began, memory.stop()
                counts[outcome] += 1
                most, slowest = max(most, held), max(slowest, seconds)
                bad = [outcome] if outcome == "other error" or (refused and outcome == "answered") else []
                bad += ["the secret is in the answer"] if secret in told else []
                bad += ["a file was changed"] if _listing(out, root) != before else []
                bad += [f"{seconds:.0f} s"] if seconds > LIMITS.seconds + 3 else []
                bad += [f"{held:.0f} MB"] if held > LIMITS.memory / 1e6 + OVER else []
                bad += [f"it called {calls}"] if calls else []
                calls.clear()
                wrong += [f"{sql[:80]}: {', '.join(bad)}: {told[:120]}"] if bad else []
    return {"counts": dict(counts), "most MB": round(most), "slowest s": round(slowest, 1), "wrong": wrong}


def cases(reference: Reference) -> dict[str, Callable[[], dict[str, Any]]]:
    """The statements, by what they are after."""
    return {
        name: partial(asked, reference, statements, group is REFUSED)
        for group in (REFUSED, BOUNDED)
        for name, statements in group.items()
    }


def figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What is counted."""
    met = [c for c in found if "skipped" not in c]
    counts = sum((Counter(c["counts"]) for c in met), Counter())
    return {
        "statements": counts.total(),
        "skipped": len(found) - len(met),
        **counts,
        "most memory of one, MB": max((c["most MB"] for c in met), default=0),
        "longest, s": max((c["slowest s"] for c in met), default=0),
    }
