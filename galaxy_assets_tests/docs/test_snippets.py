"""Snippets of the site, the README and SECURITY.md. Tutorials and the searches of similarity.md run on a small survey.

Commands elsewhere are parsed with their options and values, settings are validated, other Python is compiled.
"""

import json
import re
import shlex
import shutil
import subprocess
import textwrap
from pathlib import Path

import click
import pytest
import yaml

from galaxy_assets.lake import connect
from galaxy_assets.plugins import registered
from galaxy_assets.settings.survey import Survey
from galaxy_assets_tests.deliveries.sky.loopback import Sky
from galaxy_assets_tests.docs.pages import (
    NOT_RUN,
    PAGES,
    ROOT,
    TUTORIALS,
    Notebook,
    command_lines,
    command_of,
    name_of,
    notebooks,
    snippets,
)


def called(page: Path, program: str) -> list[list[str]]:
    """The words behind a program's name in each line of a page that calls it."""
    lines = [re.sub(r"^(\S*/bin/|until |srun .* )", "", line).partition(" > ")[0] for line in command_lines(page)]
    typed = [re.sub(r"\[(--[^]]*)\]", r"\1", line) for line in lines if line.split(" ")[0] == program]
    return [shlex.split(line.rstrip(" &;"))[1:] for line in typed]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_is_one_with_these_options_and_values(page):
    for words in called(page, "galaxy-assets"):
        command, rest = command_of(words)
        try:
            command.make_context("galaxy-assets", list(rest))
        except click.exceptions.Exit:  # --help
            pass
        except click.UsageError as error:
            pytest.fail(f"{shlex.join(words)}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_is_one(page):
    for words in called(page, "make"):
        given = [re.sub("<[^>]*>", "/tmp", word) for word in words]
        subprocess.run(["make", "--dry-run", *given], cwd=ROOT, check=True, capture_output=True)


def test_every_snippet_of_settings_and_of_python_can_be_read():
    for page, text in [*snippets("python"), *indented("from ", "import ")]:
        compile(text, page, "exec")
    for page, text in [*snippets("yaml"), *snippets("json")]:
        assert yaml.safe_load(text) is not None, page


def indented(*begins: str) -> list[tuple[str, str]]:
    """Every indented block of a page that begins with one of these, with its page."""
    found = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        blocks = [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", text, re.MULTILINE)]
        found += [(name_of(page), block) for block in blocks if block.startswith(begins)]
    return found


def test_every_snippet_of_a_survey_is_one():
    """Whole files and parts of one; of readers that are installed."""
    base = {
        "name": "mysurvey",
        "title": "",
        "description": "",
        "source": {"reader": "image_folder", "path": "mysurvey"},
    }
    of_others = {"docs/labels.md", "docs/plugins.md"}  # a Zooniverse manifest, a component of Dagster
    surveys = [base | yaml.safe_load(text) for page, text in snippets("yaml") if str(page) not in of_others]
    known = [one for one in surveys if one["source"]["reader"] in registered("readers")]
    for one in known:
        Survey.model_validate(one)
    assert len(known) >= 5 and len(surveys) - len(known) <= 2


def test_the_searches_of_similarity_are_run(small):
    """In Python and in SQL, with the same answer where the page says so."""
    with connect(small / "data") as lake:
        first, second = (name for (name,) in lake.sql("select galaxy_id from tiny.pca_features limit 2").fetchall())
        shutil.copy(next((small / "data/raw/tiny/images").rglob(f"{first}.png")), small / "ring.png")

        names = {"sdss_gz1": "tiny", "'random'": "'imagenet'", "'ANOTHER'": f"'{second}'", "ID": first}
        blocks = [text for page, text in indented("from ", "select ", "with ") if page == "docs/similarity.md"]
        for word, other in names.items():
            blocks = [text.replace(word, other) for text in blocks]
        python, short, long = blocks
        ran: dict = {}
        exec(python, ran)
        assert len(ran["found"]) == 8
        both, one = (lake.sql(line).fetchall() for line in short.splitlines())
        assert len(both) == 8 and len(one) > 0
        written_out = [row[0] for row in lake.sql(long).fetchall()]
        macro = lake.sql(f"select neighbour_id from tiny.similar_to(['{first}'], 8) order by rank").fetchall()
        assert written_out == [name for (name,) in macro]


def test_the_pages_have_what_is_tested_here():
    commands = [words for page in PAGES for words in called(page, "galaxy-assets")]
    assert len(commands) > 60 and len(snippets("python")) > 20 and len(TUTORIALS) == 7


@pytest.fixture
def small(untrained, tmp_path, monkeypatch) -> Path:
    """A folder with the tiny survey's data in it, which is the current one."""
    shutil.copytree(untrained, tmp_path / "data")
    return at(tmp_path, monkeypatch)


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Path:
    """A folder with nothing in it, which is the current one."""
    return at(tmp_path, monkeypatch)


def at(folder: Path, monkeypatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(folder / "data"))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster"))
    (folder / "dagster").mkdir()
    return folder


def tutorial(name: str) -> Path:
    (page,) = [page for page in TUTORIALS if page.stem == name]
    return page


@pytest.mark.parametrize("name", ["first-survey", "asking-the-lake", "labelling"])
def test_a_tutorial_of_the_demo_runs_on_the_tiny_survey(name, small):
    Notebook(small, {"demo_optical": "tiny"}).run(tutorial(name))


def test_the_labelling_tutorial_ranks_anew_by_a_persons_scores(small):
    run = Notebook(small, {"demo_optical": "tiny"})
    run.run(tutorial("labelling"))
    (answer,) = [said for text, said in run.said if "scored_by = 'people'" in text]
    rows = eval(answer)
    assert {row[0]: row[1] for row in rows} == {run.names["first"]: 5.0, run.names["second"]: 0.0}
    assert len(list((small / "best").rglob("*.png"))) == 5


def test_the_new_reader_is_installed_and_used(empty, monkeypatch):
    monkeypatch.syspath_prepend(str(empty))
    run = Notebook(empty)
    run.run(tutorial("new-reader"))
    from galaxy_assets.settings.files import survey_files

    assert survey_files(empty / "data").named("numbers").source.reader == "number_folder"
    (listed,) = [said for text, said in run.said if "survey list" in text]
    assert re.search(r"numbers +My numbers|numbers", listed) and "broken" not in listed


def test_positions_become_a_survey(empty, monkeypatch):
    from galaxy_assets.deliveries.sky.skies import HIPS2FITS

    sky = Sky()
    monkeypatch.setenv(HIPS2FITS.variable, f"{sky.address}/hips2fits")
    try:
        Notebook(empty, {"--pixels 96": "--pixels 96 --per-second 20"}).run(tutorial("from-positions"))
    finally:
        sky.close()
    assert len(list((empty / "data/raw/mysky").rglob("*.png"))) == 40
    assert len(sky.asked) >= 40


def test_a_tutorial_is_a_notebook_of_its_cells():
    for page in TUTORIALS:
        made = notebooks.notebook(page.read_text(encoding="utf-8"))
        code = [cell["source"] for cell in made["cells"] if cell["cell_type"] == "code"]
        assert code and made["nbformat"] == 4 and json.dumps(made)
        assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])
        assert not any(line.startswith("$") for source in code for line in source.splitlines())


def test_what_is_not_run_is_on_a_page():
    typed = {line for page in TUTORIALS for line in command_lines(page)}
    assert set(NOT_RUN) <= typed
