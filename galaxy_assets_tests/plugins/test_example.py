"""A package of somebody else, installed by pip: its reader and its cutter are used from a survey file, and what is
wrong with one package is one clear error for the survey that uses it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

EXAMPLE = Path(__file__).parent / "example"
ROOT = Path(__file__).parents[2]

USED = """
import json, sys
from pathlib import Path
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.orchestration.assets.cutouts import cut_chunk, pixels_fingerprint
from galaxy_assets.settings.files import read_survey

root, said = Path(sys.argv[1]), {}
for path in sorted((root / "surveys").glob("*.yaml")):
    try:
        survey = read_survey(path)
        reader = open_reader(survey.source, root / "raw")
        catalogue = reader.catalogue(reader.batches()[0])
        made = pixels_fingerprint(catalogue, survey)
        pixels, ledger = cut_chunk(reader, catalogue.to_pylist(), survey.cutout, made)
        said[path.stem] = {
            "ids": catalogue["galaxy_id"].to_pylist(),
            "problems": catalogue["problem"].to_pylist(),
            "outcomes": ledger["outcome"].to_pylist(),
            "boxes": [[row[f"box_{side}"] for side in ("x0", "y0", "x1", "y1")] for row in ledger.to_pylist()],
            "shape": pixels.shape,
            "brightest": [int(one.argmax()) for one in pixels[..., 0]],
            "from": [survey.source.deciding().get("reader from"), survey.cutout.deciding().get("method from")],
            "fingerprints": [survey.source.fingerprint(), survey.cutout.fingerprint(), made],
        }
    except ValueError as error:
        said[path.stem] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""

LISTED = """
import os, sys
os.environ["GALAXY_ASSETS_DATA"] = sys.argv[1]
from galaxy_assets.cli import app
app(["survey", "list"])
"""

CONTRACTS = """
import sys
from pathlib import Path
from galaxy_assets.plugins.contracts import check_cutter, check_reader
check_reader("number_images", {"options": {"separator": ","}}, Path(sys.argv[1]) / "raw/numbers")
check_cutter("brightest", {"options": {"side": 40}})
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder of packages with the example in it, as pip puts it there; no network is used."""
    work = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, work / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    how = ["--no-deps", "--no-build-isolation", "--target", str(work / "site"), str(work / "source")]
    subprocess.run([*pip, *how], check=True, capture_output=True, text=True)
    return work / "site"


@pytest.fixture
def root(tmp_path) -> Path:
    """A data folder with a survey that uses the example, and another that does not."""
    (tmp_path / "raw/numbers/first").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, (x, y) in {"a": (30, 20), "b": (50, 40)}.items():
        image = rng.normal(5, 1, (60, 70))
        image[y, x] = 99
        np.savetxt(tmp_path / f"raw/numbers/first/{name}.txt", image, fmt="%.3f", delimiter=",")
    (tmp_path / "raw/numbers/first/c.txt").write_text("1,2\n3")
    source = {"reader": "number_images", "path": "numbers", "options": {"separator": ","}}
    cutout = {"method": "brightest", "size": 21, "options": {"side": 21}}
    write(tmp_path, "numbers", {"source": source, "cutout": cutout})
    write(tmp_path, "plain", {"source": {"reader": "simulated", "path": "demo", **SIMULATED}, "cutout": {"size": 32}})
    return tmp_path


SIMULATED = {"simulate": "radio", "n_images": 2, "batches": ["one", "two"]}


def write(root: Path, name: str, settings: dict[str, Any]) -> None:
    (root / "surveys").mkdir(exist_ok=True)
    whole = {"name": name, "title": name, "description": "d"} | settings
    (root / "surveys" / f"{name}.yaml").write_text(yaml.safe_dump(whole))


def run(code: str, root: Path, site: Path) -> str:
    path = os.pathsep.join([str(site), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, "-c", code, str(root)], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def used(root: Path, site: Path) -> dict[str, Any]:
    return json.loads(run(USED, root, site))


def changed(installed: Path, to: Path, version: str = "1.0", name: str = "example-number-images") -> Path:
    """The installed folder, copied, as another version or under another name."""
    shutil.copytree(installed, to)
    (info,) = to.glob("*.dist-info")
    metadata = (info / "METADATA").read_text()
    metadata = re.sub(r"(?m)^Version: .*$", f"Version: {version}", metadata)
    (info / "METADATA").write_text(re.sub(r"(?m)^Name: .*$", f"Name: {name}", metadata))
    info.rename(to / f"{name.replace('-', '_')}-{version}.dist-info")
    return to


def test_a_survey_file_uses_the_reader_and_the_cutter_of_another_package(installed, root):
    said = used(root, installed)["numbers"]
    assert (said["ids"], said["problems"]) == (["a", "b", "c"], [None, None, "unreadable"])
    assert said["outcomes"] == ["brightest_pixel", "brightest_pixel", "unreadable"]
    assert said["boxes"] == [[20, 10, 41, 31], [40, 30, 61, 51], [None] * 4] and said["shape"] == [3, 21, 21, 3]
    assert said["brightest"][:2] == [10 * 21 + 10] * 2, "the brightest pixel is in the middle"
    assert said["from"] == ["example-number-images==1.0"] * 2


def test_the_plug_ins_keep_their_promises(installed, root):
    (root / "raw/numbers/second").mkdir()
    (root / "raw/numbers/second/a.txt").write_text("\n".join(["1,2,3"] * 4))
    run(CONTRACTS, root, installed)


def test_another_version_of_the_package_is_another_fingerprint(installed, root, tmp_path):
    first, second = used(root, installed), used(root, changed(installed, tmp_path / "site", version="1.1"))
    assert second["numbers"]["from"] == ["example-number-images==1.1"] * 2
    assert all(a != b for a, b in zip(first["numbers"]["fingerprints"], second["numbers"]["fingerprints"], strict=True))
    assert first["plain"] == second["plain"] and first["plain"]["from"] == [None, None]


def others_run(said: dict[str, Any]) -> bool:
    return said["plain"]["problems"] == [None] and said["plain"]["shape"] == [1, 32, 32, 3]


def test_without_the_package_the_error_names_what_is_registered(root, tmp_path):
    said = used(root, tmp_path / "nothing")
    assert "numbers.yaml: source.reader: no readers plug-in 'number_images'" in said["numbers"]
    assert "registered are fits_folder, galaxy_zoo_decals, image_folder, mirabest, simulated" in said["numbers"]
    assert "cutout.method: no cutters plug-in 'brightest'" in said["numbers"] and others_run(said)


def test_two_packages_that_register_one_name_are_one_error_that_names_both(installed, root, tmp_path):
    site = changed(installed, tmp_path / "site")
    other = changed(installed, tmp_path / "other", name="rival", version="7")
    shutil.copytree(next(other.glob("*.dist-info")), site / "rival-7.dist-info")
    said = used(root, site)
    both = "is registered by example-number-images 1.0 and rival 7; uninstall one of them"
    assert f"source.reader: readers plug-in 'number_images' {both}" in said["numbers"]
    assert said["numbers"].startswith("SurveyError: ") and others_run(said)
    assert "did you mean `brightest`" not in said["numbers"]


def test_a_plug_in_that_raises_at_import_is_an_error_of_its_survey_alone(installed, root, tmp_path):
    site = changed(installed, tmp_path / "site")
    (site / "example_number_images.py").write_text("raise RuntimeError('no licence found')\n")
    said = used(root, site)
    assert said["numbers"] == (
        "SurveyError: readers plug-in 'number_images' of example-number-images 1.0 cannot be loaded "
        "(example_number_images:NumberImages: RuntimeError: no licence found); mend or uninstall that package"
    )
    assert others_run(said)
    listed = run(LISTED, root, site)
    assert said["numbers"].removeprefix("SurveyError: ") in listed and f"{root / 'raw/demo'}: 2 deliveries" in listed


def test_a_cutter_that_raises_at_import_is_an_error_that_names_its_package(installed, root, tmp_path):
    write(
        root,
        "numbers",
        {"source": {"reader": "simulated", "path": "own", **SIMULATED}, "cutout": {"method": "brightest"}},
    )
    site = changed(installed, tmp_path / "site")
    (site / "example_number_images.py").write_text("raise RuntimeError('no licence found')\n")
    said = used(root, site)
    assert said["numbers"].startswith("PluginError: cutters plug-in 'brightest' of example-number-images 1.0 cannot be")
    assert others_run(said)
