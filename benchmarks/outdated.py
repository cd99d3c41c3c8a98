"""Whether 10,000 deliveries are up to date, and how many seconds that question takes.

    make outdated [BATCHES=10000]

It writes a lake of tiny tables, each with the origin that a run would have given it, and asks the rule
(`orchestration.automation.outdated`) for every table: first without `.footers.parquet`, then as every later process
does. Nothing of it is a survey: the tables have one column without rows, and no pixels.

With `--bucket` the lake is that of a bucket of moto's server with heads in PostgreSQL, on the machine that made it:
what a run would have put into the table of heads and into the record of copies is put there, and no content is sent.

Belongs here: that world, and the seconds. Does not belong here: the rule.
"""

import argparse
import gc
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.automation.deliveries import LEDGER
from galaxy_assets.orchestration.automation.outdated import Outdated, reads
from galaxy_assets.orchestration.graph import keys_of
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.root import data_root
from galaxy_assets.storage.bucket.contents import Contents
from galaxy_assets.storage.bucket.copies import Copies, Copy
from galaxy_assets.storage.bucket.heads import Head
from galaxy_assets.storage.bucket.names import name_of
from galaxy_assets.storage.bucket.objects import Objects
from galaxy_assets.storage.bucket.postgres_heads import HEADS
from galaxy_assets.storage.bucket.whereabouts import heads_of
from galaxy_assets.storage.files import state_of
from galaxy_assets.storage.label_events import EVENTS
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import Origin, Version, with_origin
from galaxy_assets.storage.tables import write_table

SURVEY = {"extends": "sdss_gz1", "name": "many", "source": {"path": "many"}, "start_weights": ["imagenet"]}
_EXAMPLE = "delivery_99999"
"""Stands for each delivery in the bytes of a table, and is as long as its name."""


def name(number: int) -> str:
    """What a delivery is called."""
    return f"delivery_{number:05d}"


def write_world(root: Path, n: int) -> int:
    """Write a survey of n deliveries that is up to date, and return how many tables it has."""
    layout, batches = Layout(root), [name(i) for i in range(n)]
    (root / "surveys").mkdir(parents=True)
    (root / "surveys/many.yaml").write_text(yaml.safe_dump(SURVEY))
    (root / "raw/many/images").mkdir(parents=True)
    now = datetime.now(UTC)
    row = {"kind": "folder", "state": "whole", "files": 0, "bytes": 0, "snapshot": "s" * 16}
    row |= {"modified": now, "first_seen": now, "changed": now}
    rows = [{"delivery": batch, "path": f"images/{batch}", **row} for batch in [*batches, _EXAMPLE]]
    write_table(pa.Table.from_pylist(rows, LEDGER), layout.table("many", "deliveries"))
    known = survey_files(root).known
    graph = build_defs(root).resolve_asset_graph()
    rule, written = Outdated(graph, known["many"], known, layout, batches), 0
    for key in keys_of(graph, "many"):
        by_batch = rule.partitions(key, batch=_EXAMPLE) if rule.partitions(key) else []
        for partition in by_batch:
            table = _table(rule, key, partition)
            if _EXAMPLE not in partition:
                path = layout.table("many", key.path[-1], *partition)
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(table, path)
                written += 1
                continue
            sink = pa.BufferOutputStream()
            # without Arrow's own schema, which would hold the origin once more, in base64
            with pq.ParquetWriter(sink, table.schema.remove_metadata(), store_schema=False) as writer:
                writer.add_key_value_metadata(table.schema.metadata)
                writer.write_table(table.replace_schema_metadata(None))
            content = sink.getvalue().to_pybytes()
            for batch in batches:
                path = layout.table("many", key.path[-1], *(batch if p == _EXAMPLE else p for p in partition))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.replace(_EXAMPLE.encode(), batch.encode()))
            written += n
    return written


def _table(rule: Outdated, key, partition: tuple[str, ...]) -> pa.Table:
    """A table without rows that has been made from what there is."""
    version = Version("d" * 16, "m" * 16)
    inputs = {
        read.asset.path[-1]: {
            "/".join(part): Version("no rows" if read.how.get("own_batch") else version.data, version.method)
            for part in rule.read_partitions(read, key, partition)
        }
        for read in reads(rule.graph, key)
    }
    code, outside = rule.graph.get(key).code_version, rule.outside(key, partition)
    origin = Origin(
        code=code,
        data=version.data,
        method=version.method,
        inputs=inputs,
        outside=outside,
        content="c" * 16,
        asset="/".join(key.path),
    )
    columns = EVENTS if key.path[-1] == "label_events" else pa.schema([("galaxy_id", pa.string())])
    return with_origin(columns.empty_table(), origin)


@contextmanager
def servers(folder: Path) -> Iterator[None]:
    """A bucket and a PostgreSQL for its heads, to which the environment leads; copies are below a folder."""
    from galaxy_assets_tests import postgresql
    from galaxy_assets_tests.storage.bucket.s3 import NAME, running

    if (programs := postgresql.programs()) is None:
        raise SystemExit("--bucket needs PostgreSQL on this machine: install it (apt install postgresql)")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with postgresql.server(programs) as database, running():
        there = {"GALAXY_ASSETS_DATA": f"s3://{NAME}/many", "GALAXY_ASSETS_CACHE": str(folder), HEADS: database.url}
        with mock.patch.dict(os.environ, there):
            yield


def keep_heads(root: Path) -> None:
    """Put what lies in the folder of copies into the table of heads, and into this machine's record."""
    import psycopg2
    from psycopg2.extras import execute_values

    address, database = os.environ["GALAXY_ASSETS_DATA"], os.environ[HEADS]
    objects = Objects(address)
    heads_of(objects)  # makes the tables, and says in the bucket where heads are
    contents, heads = Contents(mock.create_autospec(Objects, instance=True), set), dict[str, Head]()
    for path in (path for path in root.rglob("[!.]*") if path.is_file()):
        if (named := name_of(path, root)) is not None:
            heads[named] = contents.sent(named, path)
    rows = [(objects.address, named, head.to_json()) for named, head in heads.items()]
    insert = "insert into galaxy_assets_heads (folder, name, token, head) values %s returning name, token::text"
    each = "(%s, %s, nextval('galaxy_assets_token'), %s)"
    with psycopg2.connect(database.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
        tokens = dict(execute_values(cursor, insert, rows, template=each, fetch=True))
    copies = Copies(root / ".copies.sqlite")
    copies.learn({named: (tokens[named], head) for named, head in heads.items()})
    copies.put((n, Copy(tokens[n], True, head.size, str(state_of(root / n)))) for n, head in heads.items())


def ask(root: Path) -> None:
    """Ask for every table, in this process, and print the seconds."""
    begun = time.perf_counter()
    layout, known = Layout(root), survey_files(root).known
    graph = build_defs(root).resolve_asset_graph()
    gc.freeze()  # as `status` does
    gc.disable()
    loaded, cpu = time.perf_counter(), time.process_time()
    batches = sorted(path.stem for path in (layout.lake / "many/catalogue").glob("[!.]*.parquet"))
    rule = Outdated(graph, known["many"], known, layout, batches)
    tables = [(key, partition) for key in keys_of(graph, "many") for partition in rule.partitions(key)]
    why = [reason for key, partition in tables if (reason := rule.why(key, partition))]
    asked, cpu = time.perf_counter(), time.process_time() - cpu
    if why:
        raise SystemExit(f"{len(why)} tables count as outdated though nothing has changed: {sorted(set(why))[:3]}")
    rule.footers.keep(1)
    kept = time.perf_counter() - asked
    print(
        f"{len(tables)} tables of {len(batches)} deliveries, all up to date: "
        f"{asked - loaded:.1f} s, {cpu:.1f} s of CPU (code location {loaded - begun:.1f} s, keeping {kept:.1f} s)",
        flush=True,
    )


def main() -> None:
    """Write the world unless it is there, and ask twice, each time in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where the world is, or goes and stays; else it is removed")
    parser.add_argument("--bucket", action="store_true", help="as a lake in a bucket, which is always written anew")
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask is not None:
        ask(arguments.ask)
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("GALAXY_ASSETS_BENCHMARKS")) as temporary:
        if not arguments.bucket:
            ask_twice(arguments.folder or Path(temporary) / "data", arguments.batches, bucket=False)
            return
        with servers(Path(temporary)):
            ask_twice(data_root(), arguments.batches, bucket=True)


def ask_twice(root: Path, n: int, *, bucket: bool) -> None:
    """Write the world unless it is there, and ask in two processes."""
    if not (root / "lake").is_dir():
        begun = time.perf_counter()
        with mock.patch.dict(os.environ, {"GALAXY_ASSETS_DATA": str(root)}):  # as files of this machine alone
            written = write_world(root, n)
        if bucket:
            keep_heads(root)
        print(f"wrote {written} tables in {time.perf_counter() - begun:.0f} s", flush=True)
    (root / "lake/many/.footers.parquet").unlink(missing_ok=True)
    for _ in range(2):
        subprocess.run([sys.executable, __file__, "--ask", str(root)], check=True)


if __name__ == "__main__":
    main()
