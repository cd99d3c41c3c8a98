"""The light half: a lake is asked in a process that can import nothing beside what requirements-lake.lock installs."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
MODULES = {"pillow": {"PIL"}, "pyyaml": {"yaml", "_yaml"}, "duckdb": {"duckdb", "_duckdb"}}
"""What a package is imported as, where that is not its name."""

LOCK = (ROOT / "requirements-lake.lock").read_text()
PINNED = [line.removesuffix(" \\") for line in LOCK.splitlines() if re.match("[a-z]", line)]
NAMES = {canonicalize_name(Requirement(line).name) for line in PINNED}


def test_a_lake_is_asked_with_what_the_lock_installs_and_nothing_else(world, tmp_path):
    allowed = set().union(*(MODULES.get(name, {name.replace("-", "_")}) for name in NAMES))
    module = [sys.executable, "-m", "galaxy_assets_tests.lake.light_process"]
    command = [*module, str(world.root), str(tmp_path), *sorted(allowed)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said.pop("torch") == "ModuleNotFoundError: No module named 'torch'", "the process can import nothing else"
    assert said.pop("sheet")[0] > 9 * 96
    remedy = "not installed here: `pip install galaxy-assets` adds what is missing"
    needed = "torch, timm, cv2, safetensors"
    assert said.pop("by file") == f"PrintableError: a search by image files needs {needed}, {remedy}"
    assert said.pop("sheet of files") == f"PrintableError: a sheet of image files needs cv2, {remedy}"
    assert said.pop("as it was") == f"PrintableError: a ranking as it was needs sklearn, {remedy}"
    assert said.pop("as VOTable") == f"PrintableError: a table as votable needs astropy, {remedy}"
    assert said == {"SQL and Python agree": True, "found": 8, "exported": True, "as documented": True, "images": []}


COMMANDS = "click, typer, dagster, torch, sklearn, cv2, astropy, nicegui"
BESIDE_TYPER = COMMANDS.removeprefix("click, typer, ")


@pytest.mark.parametrize(
    ("installed", "absent"),
    [(NAMES, COMMANDS), (set(), COMMANDS), (NAMES | {"click", "typer"}, BESIDE_TYPER)],
    ids=["the light half", "no dependency", "typer of somebody else"],
)
def test_the_script_names_the_remedy_in_one_line(installed, absent, tmp_path):
    allowed = set().union(*(MODULES.get(name, {name.replace("-", "_")}) for name in installed))
    (entry,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].values()
    module, _, function = entry.partition(":")
    code = (
        "import sys; from galaxy_assets_tests.lake.light_process import Only; "
        f"sys.meta_path[:] = [Only(finder, {sorted(allowed)}) for finder in sys.meta_path]; "
        f"from {module} import {function}; {function}()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    remedy = "not installed here: `pip install galaxy-assets` adds what is missing"
    assert (ran.returncode, ran.stdout) == (1, "") and ran.stderr == f"the commands need {absent}, {remedy}\n"


def test_the_light_half_is_a_part_of_the_whole():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    light = project["dependency-groups"]["lake"]
    assert set(light) <= set(project["project"]["dependencies"])
    assert {canonicalize_name(Requirement(line).name) for line in light} <= NAMES
    page = (ROOT / "docs/installing.md").read_text()
    assert set(re.findall('"([a-z]+>=[0-9.]+)"', page)) == set(light)
    whole = (ROOT / "requirements.lock").read_text().splitlines()
    assert [line for line in LOCK.splitlines() if line not in whole] == []
