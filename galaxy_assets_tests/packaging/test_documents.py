"""What is said of the package beside its code: one version everywhere, the recipe's requirements, links and names."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from galaxy_assets_tests.test_readme import README

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RECIPE = yaml.safe_load((ROOT / "packaging/conda/recipe.yaml").read_text())
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
CONDA = {
    "duckdb": "python-duckdb",
    "matplotlib": "matplotlib-base",
    "opencv-python-headless": "py-opencv",
    "seaborn": "seaborn-base",
    "torch": "pytorch",
}
"""Package -> what conda-forge calls it, where that is another name."""


def test_one_version_is_named_everywhere():
    version = PROJECT["project"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    headings = re.findall(r"^## (\S+) \((unreleased|\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    newest, *earlier = headings
    assert newest[0] == str(CITATION["version"]) == RECIPE["context"]["version"] == version
    assert all(date != "unreleased" for _, date in earlier)
    packaging = [path for path in (ROOT / "packaging").rglob("*") if path.is_file()]
    images = {
        found
        for path in [*packaging, ROOT / "docs/cluster.md"]
        for found in re.findall(r"galaxy-assets:(\d[\w.]*)-c|tag: \"([\d.]+)-c", path.read_text(encoding="utf-8"))
    }
    assert {"".join(found) for found in images} == {version}


def test_what_is_cited_is_the_paper_that_the_readme_cites():
    (paper,) = CITATION["references"]
    assert paper["title"] in " ".join(README.replace("*", "").split())
    assert [author["family-names"] for author in paper["authors"]] == ["Mohale", "Lochner"]
    assert paper["identifiers"][0]["value"] in README and f"{paper['volume']}, {paper['start']}" in README
    assert CITATION["license"] == PROJECT["project"]["license"] == RECIPE["about"]["license"]


def test_the_recipe_of_conda_asks_for_what_the_package_asks_for():
    light, whole = (output["requirements"]["run"] for output in RECIPE["outputs"])
    python, *light = light
    same, base, *whole = whole
    assert same == python
    assert base == '${{ pin_subpackage("galaxy-assets-base", exact=True) }}'
    assert python.split()[1] == PROJECT["project"]["requires-python"]

    def said(lines: list[str]) -> dict[str, SpecifierSet]:
        return {name: SpecifierSet(bounds) for name, bounds in (line.split() for line in lines)}

    def asked(lines: list[str]) -> dict[str, SpecifierSet]:
        wanted = [Requirement(line.replace("~=1.13.27", ">=1.13.27,<1.14")) for line in lines]
        return {CONDA.get(one.name, one.name): one.specifier for one in wanted}

    assert said(light) == asked(PROJECT["dependency-groups"]["lake"])
    assert said(light) | said(whole) == asked(PROJECT["project"]["dependencies"])
    assert not said(light).keys() & said(whole).keys()
    extras = PROJECT["project"]["optional-dependencies"]
    (outer,) = [output["requirements"]["run_constraints"] for output in RECIPE["outputs"][1:]]
    assert said(outer).items() <= asked(extras["formats"] + extras["cluster"]).items()
    base, complete = (output["build"] for output in RECIPE["outputs"])
    assert "python" not in base and 'rm "$PREFIX/bin/galaxy-assets"' in base["script"], (
        "no command without its packages"
    )
    (script,) = complete["python"]["entry_points"]
    assert script == f"galaxy-assets = {PROJECT['project']['scripts']['galaxy-assets']}"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "docs/installing.md"])
def test_what_a_page_names_is_there(page):
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []
    files = set(re.findall(r"`([\w./-]+\.(?:toml|py|md|cff|yaml|lock))`", text)) - {"dagster.yaml", "workspace.yaml"}
    folders = [ROOT, ROOT / "galaxy_assets", ROOT / "galaxy_assets_tests"]
    assert [name for name in files if not any((folder / name).exists() for folder in folders)] == []
    made = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:`|^    )make ([\w-]+)", text, re.M)) <= made


def test_the_names_that_contributing_gives_are_names():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for dotted in re.findall(r"`(galaxy_assets(?:\.\w+)+)`", text):
        module, _, name = dotted.rpartition(".")
        groups = PROJECT["project"]["entry-points"]
        if dotted not in groups:
            try:
                importlib.import_module(dotted)
            except ModuleNotFoundError:
                assert hasattr(importlib.import_module(module), name), dotted
