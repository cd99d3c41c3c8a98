"""What is kept, exported or logged names no secret of the environment, no token, and not where a person's home is."""

import logging
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.explorer.export_page import KINDS, write
from galaxy_assets.explorer.view import OpenLake, View
from galaxy_assets.lake.read_model import publish
from galaxy_assets.orchestration.graph import EXPLORER
from galaxy_assets.storage.layout import Layout
from galaxy_assets_tests.conftest import PLANTED, World
from galaxy_assets_tests.explorer.browser import free_port


@pytest.fixture(scope="module")
def home(world: World, tmp_path_factory) -> Path:
    """A person's home with the tiny survey in it: run, exported, drawn, searched and explored there."""
    home = tmp_path_factory.mktemp("home_of_hidden")
    shutil.copytree(world.root, home / "data")
    return home


@pytest.fixture(scope="module")
def used(home) -> Iterator[tuple[Path, str, list[str]]]:
    """The home after a person used everything, the explorer's token, and the lines that were logged."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HOME", str(home))
    patch.setenv("GALAXY_ASSETS_DATA", str(home / "data"))
    patch.setenv("DAGSTER_HOME", str(home / "dagster"))
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("galaxy_assets")
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        (home / "dagster").mkdir()
        layout, out = Layout(home / "data"), home / "exports"
        publish(layout, EXPLORER)
        for words in (
            ["export", "ranking", "tiny", "--to", str(out / "ranking"), "--images"],
            ["export", "candidates", "tiny", "--to", str(out / "candidates")],
            ["query", "from tiny.anomaly_ranking", "--to", str(out / "query.parquet")],
            ["query", "from tiny.catalogue", "--to", str(out / "query.csv")],
            ["figures", "tiny"],
            ["status"],
        ):
            ran = CliRunner().invoke(app, words)
            assert ran.exit_code == 0, (words, ran.output)
        view = View(OpenLake(layout), "tiny", "imagenet")
        rows = view.rows_of(["first_00", "first_01"])
        for kind in KINDS:
            write(layout.root, "tiny", "imagenet", view.version, rows, kind, out)
        yield home, _explored(home, lines), lines
    finally:
        log.removeHandler(handler)
        patch.undo()


def _explored(home: Path, lines: list[str]) -> str:
    """Open the explorer on an address that asks for a token; returns it, and adds what the server logged to lines."""
    port = free_port()
    command = [sys.executable, "-m", "galaxy_assets.cli", "explore", "--no-browser", "--host", "0.0.0.0"]
    server = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline()
        token = address.split("token=")[1].strip()
        for _ in range(600):
            try:
                urllib.request.urlopen(
                    urllib.request.Request(
                        f"http://127.0.0.1:{port}/", headers={"cookie": f"galaxy_assets_token_{port}={token}"}
                    )
                ).read()
                break
            except OSError:
                time.sleep(0.1)
    finally:
        server.terminate()
        lines += server.communicate(timeout=60)[1].splitlines()
    return token


def texts(file: Path) -> Iterator[bytes]:
    """The bytes of a file, and what its format packs away from them."""
    yield file.read_bytes()
    match file.suffix:
        case ".parquet":
            table = pq.read_table(file, partitioning=None)
            yield repr(pq.read_metadata(file).metadata).encode()
            yield repr([(f.name, f.metadata) for f in table.schema]).encode()
            for column in table.columns:
                if "string" in str(column.type) or "binary" in str(column.type):
                    yield "\n".join(map(str, column.to_pylist())).encode()
        case ".png":
            with Image.open(file) as image:
                yield repr(image.info).encode()
        case ".zip":
            with zipfile.ZipFile(file) as archive:
                yield from (archive.read(name) for name in archive.namelist())


def kept(home: Path) -> list[Path]:
    """What the platform wrote: all but what a person brought and the history that Dagster itself keeps."""
    files = [f for f in home.rglob("*") if f.is_file() and not f.is_relative_to(home / "dagster")]
    return [f for f in files if f.relative_to(home).parts[:2] not in {("data", "raw"), ("data", "weights")}]


def test_nothing_that_is_kept_or_exported_names_a_secret_or_a_home(used, world):
    home, token, _ = used
    files = kept(home)
    kinds = {file.suffix for file in files}
    assert kinds >= {".parquet", ".png", ".html", ".csv", ".json", ".duckdb", ".zip", ".vot", ".safetensors"}, kinds
    found = []
    for file in files:
        needles = [PLANTED.encode(), token.encode(), str(home).encode(), str(world.root).encode()]
        found += [(str(file.relative_to(home)), n) for text in texts(file) for n in needles if n in text]
    assert found == []


def test_nothing_that_is_logged_names_a_secret_or_a_home(used):
    home, token, lines = used
    assert any("read model" in line for line in lines)
    assert [line for line in lines for needle in (PLANTED, token, str(home)) if needle in line] == []


def test_dagsters_history_names_no_secret(world):
    """It names files by their whole path: a person opens them from its pages."""
    events = [repr(record) for record in world.instance.get_run_records()]
    for run in world.instance.get_runs():
        events += [repr(entry) for entry in world.instance.all_logs(run.run_id)]
    assert len(events) > 100 and not re.search(PLANTED, "\n".join(events))
