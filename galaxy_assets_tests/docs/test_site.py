"""The site is built without a warning, its links lead somewhere, and its reference is what the code says."""

import json
import re
import shutil
from html import unescape
from pathlib import Path

import pytest
import typer.main

from galaxy_assets.cli import app
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.settings.survey import Survey
from galaxy_assets_tests.docs.pages import DOCS, TUTORIALS, notebooks
from galaxy_assets_tests.docs.site import broken


def text(page: Path) -> str:
    return unescape(re.sub(r"<[^>]*>", "", page.read_text(encoding="utf-8")))


def test_no_link_is_broken_and_nothing_is_loaded_from_elsewhere(html):
    assert broken(html) == []
    assert len(list(html.rglob("*.html"))) > 50


def test_a_broken_link_would_be_found(html, tmp_path):
    shutil.copytree(html, tmp_path / "html")
    page = tmp_path / "html" / "index.html"
    wrong = '<a href="nowhere.html">a</a><a href="growing.html#nowhere">b</a><img src="https://elsewhere.org/a.png">'
    page.write_text(page.read_text().replace("</main>", f"{wrong}</main>"))
    assert broken(tmp_path / "html") == [
        f"index.html: {link}" for link in ("growing.html#nowhere", "https://elsewhere.org/a.png", "nowhere.html")
    ]


def test_nothing_is_fetched_by_styles_and_scripts(html):
    outside = re.compile(rb"(url\(\s*['\"]?|import\s*\(?\s*['\"]|fetch\(\s*['\"])https?://")
    assert [p.name for p in html.rglob("*") if p.suffix in (".css", ".js") and outside.search(p.read_bytes())] == []


def test_every_setting_is_in_the_reference(html):
    said = text(html / "reference/settings.html")
    for name, field in Survey.model_fields.items():
        assert name in said and (field.description or "").split("`")[0].strip() in said
    assert "learning_rate" in said and "1e-4" in said.replace("0.0001", "1e-4") and "of Adam" in said


def test_every_command_is_in_the_reference_with_its_options(html):
    said = text(html / "reference/commands.html")
    group = typer.main.get_command(app)
    for name, command in group.commands.items():
        inner = getattr(command, "commands", {None: command})
        for word, one in inner.items():
            assert f"galaxy-assets {name}{f' {word}' if word else ''}" in said
            for parameter in one.params:
                for option in parameter.opts if parameter.param_type_name == "option" else []:
                    assert option in said or option == "--help", (name, option)


def test_every_asset_and_every_column_is_in_the_reference(html):
    assets, tables = text(html / "reference/assets.html"), text(html / "reference/tables.html")
    for name, asset in ASSETS.items():
        assert name in assets and name in tables
        for column, said in asset.columns.items():
            words = said if isinstance(said, str) else said[0]
            assert column in tables and " ".join(words.split("`")[0].split()) in tables, (name, column)


def test_functions_are_in_the_reference_with_their_parameters(html):
    said = text(html / "reference/api/lake.html")
    assert "similar(survey" in said and "Examples that are galaxies of the survey" in said and "Raises" in said
    assert "knn_accuracies" in text(html / "reference/api/science.html")


def test_the_graph_is_drawn_without_a_script(html):
    drawn = (html / "lineage.html").read_text(encoding="utf-8")
    lines = (DOCS / "lineage.md").read_text(encoding="utf-8").count(" --> ")
    assert drawn.count('<path d="M') == lines
    nodes = re.findall(r"<text [^>]*>([a-z_0-9]+)</text>", drawn)
    assert set(ASSETS) - {"recipe_trials"} - set(nodes) <= {"table_1"} and len(nodes) == len(set(nodes))


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_is_beside_its_page_as_a_notebook(html, page):
    made = json.loads((html / "tutorials" / f"{page.stem}.ipynb").read_text(encoding="utf-8"))
    assert made == notebooks.notebook(page.read_text(encoding="utf-8"))
    assert f"{page.stem}.ipynb" in (html / "tutorials" / f"{page.stem}.html").read_text(encoding="utf-8")


def test_pictures_are_small():
    pictures = list((DOCS / "pictures").iterdir())
    assert len(pictures) > 5 and all(p.stat().st_size < 300_000 for p in pictures)
