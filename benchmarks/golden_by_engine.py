"""The small real world made by each engine and in each kind of store: are its tables equal, digest for digest?

    make golden-by-engine DATA=<folder with sdss_gz1/ and mirabest/> [ONLY="launched bucket"]

The world of `golden` is made in process in a folder, and then
- `launched`: by the instance's launcher, two batches at once,
- `ray`: the same on two Ray nodes of this machine, with Dagster in PostgreSQL,
- `bucket`: in process in a bucket of moto's server on this machine,
- `postgres`: the same, with its heads and Dagster in PostgreSQL.
It prints what differs from the first one, and ends in 1 if something does. Each takes some ten minutes on two cores.

Belongs here: the worlds and their comparison. Does not belong here: the servers (`galaxy_assets_tests`), what a world
holds and its digests (`golden`), what of a table is a time (`cluster`).
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cluster import differences, nodes
from golden import edit, run, write_world

from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.store import store_of
from galaxy_assets_tests import postgresql
from galaxy_assets_tests.storage.bucket.s3 import NAME, running

SURVEYS = ["sdss_gz1", "mirabest", "demo_radio"]
TWO_AT_ONCE = ["--engine", "launched", "--at-once", "2"]
REPOSITORY = Path(__file__).parents[1]


def fetch(root: Path) -> None:
    """Have the content of every file of a data folder here, where it is a bucket's."""
    store_of(root).refresh()
    for path in root.rglob("*"):
        if path.is_file():
            store_of(path).local(path)


def make(data: Path, root: Path, *options: str, **environment: str) -> None:
    """The world as `golden` makes it."""
    write_world(data, root)
    run(root, "run", *SURVEYS, *options, **environment)
    fetch(root)
    edit(root)
    run(root, "run", *SURVEYS, *options, **environment)
    fetch(root)


@contextmanager
def bucket(copies: Path) -> Iterator[dict[str, str]]:
    """The environment of a machine whose data folder is a bucket; of this process as well."""
    with running():
        told = {"GALAXY_ASSETS_DATA": f"s3://{NAME}/golden", "GALAXY_ASSETS_CACHE": str(copies)}
        os.environ.update(told)
        try:
            yield told
        finally:
            for name in told:
                del os.environ[name]


def make_as(way: str, data: Path, folder: Path) -> Path:
    """Make the world in one of the ways; its data folder."""
    root = folder / "data"
    with ExitStack() as stack:
        if way == "launched":
            make(data, root, *TWO_AT_ONCE)
        elif way == "ray":
            shared = stack.enter_context(nodes(folder / "home"))
            make(data, root, *TWO_AT_ONCE, **shared)
        else:
            told = stack.enter_context(bucket(folder / "copies")) | {"DAGSTER_HOME": str(folder / "home")}
            (folder / "home").mkdir()
            if way == "postgres":
                server = stack.enter_context(postgresql.server(postgresql.programs()))
                (folder / "home" / "dagster.yaml").write_text((REPOSITORY / "dagster.cluster.yaml").read_text())
                os.environ["GALAXY_ASSETS_HEADS"] = server.url
                stack.callback(os.environ.pop, "GALAXY_ASSETS_HEADS")
                told |= server.new("dagster").environment
            root = Layout.default().root
            make(data, root, **told)
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with sdss_gz1/ and mirabest/")
    ways = ["launched", "ray", "bucket", "postgres"]
    parser.add_argument("--only", nargs="+", choices=ways, default=ways)
    given = parser.parse_args()
    differ = []
    with tempfile.TemporaryDirectory(prefix="galaxy_assets_golden_") as made:
        alone = Path(made) / "data"
        make(given.data, alone)
        for way in given.only:
            (folder := Path(made) / way).mkdir()
            root = make_as(way, given.data, folder)
            compared, found = differences(alone, root)
            differ += [f"{way}: {name}" for name in found]
            print(
                f"{way}: {compared - len(found)} of {compared} tables, pixel files and checkpoints are equal",
                flush=True,
            )
    print("\n".join(["", *(f"differs, {name}" for name in differ)]))
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
