"""`survey new --catalogue`, `survey skies`, `fetch` of such a survey, and a run of it to a ranking."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.definitions import build_defs
from galaxy_assets.deliveries.sky.connection import Manners
from galaxy_assets.deliveries.sky.skies import HIPS2FITS, LEGACY
from galaxy_assets.orchestration.engines import in_process
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table
from galaxy_assets_tests.conftest import TINY, UNTRAINED, write_generated_weights
from galaxy_assets_tests.deliveries.sky.loopback import Sky

COLOUR = "CDS/P/DESI-Legacy-Surveys/DR10/color"


@pytest.fixture
def sky(monkeypatch, tmp_path) -> Iterator[Sky]:
    sky = Sky()
    monkeypatch.setenv(HIPS2FITS.variable, f"{sky.address}/hips2fits")
    monkeypatch.setenv(LEGACY.variable, f"{sky.address}/viewer")
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(Manners, "__init__", quick(Manners.__init__))
    yield sky
    sky.close()


def quick(init):
    def of(self, *args, **keys):
        init(self, *args, **{"pause": 0.001, "attempts": 2} | keys | {"per_second": 10_000})

    return of


def catalogue(tmp_path: Path, n: int) -> Path:
    path = tmp_path / "positions.csv"
    kinds = ["pair" if i % 10 == 0 else ("round", "long")[i % 2] for i in range(n)]
    rows = [f"NGC {i},{i}.5,{i / 4 - 40},{kind}" for i, kind in enumerate(kinds)]
    path.write_text("\n".join(["name,ra,dec,kind", *rows]))
    return path


def ask(*words: str) -> tuple[int, str]:
    ran = CliRunner().invoke(app, list(words), env={"COLUMNS": "400"})
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran.exit_code, " ".join(ran.output.replace("│", " ").split())


def test_two_hundred_positions_become_a_survey_and_a_ranking(sky, tmp_path):
    table, root = catalogue(tmp_path, 200), tmp_path / "data"
    sky.forever = {7: "blank", 8: "blank", 9: "404"}
    sky.bad = {20: ["500"], 30: ["html"], 40: ["truncated"]}
    new = (
        "survey",
        "new",
        "mine",
        "--catalogue",
        str(table),
        "--sky",
        COLOUR,
        "--pixels",
        "96",
        "--label-column",
        "kind",
    )
    code, said = ask(*new)
    assert code == 0, said
    assert "197 done, 2 blank, 1 failed" in said and "`galaxy-assets fetch mine` asks for them again" in said
    assert "galaxy-assets run mine" in said
    path = root / "surveys" / "mine.yaml"
    text = " ".join(path.read_text().replace("#", "").split())
    for told in (
        "Cutouts of 60 arcsec and 96 pixels (0.625 arcsec each) on a side, fetched from CDS hips2fits, begun 20",
        f"hips={COLOUR}&width=96",
        "PNG: the sky is a picture of several bands",
        "Positions: 197 done, 2 blank, 1 failed; ledger.parquet",
        f"around the positions of {table}",
        "2019AJ....157..168D",
        "a service of the CDS",
    ):
        assert told in text, told
    survey = yaml.safe_load(path.read_text())
    assert survey["source"] == {
        "reader": "image_folder", "path": "mine", "images": "images", "labels": "positions.parquet", "id_column": "id",
        "file_column": "file", "label_column": "label", "ra_column": "ra", "dec_column": "dec",
    }  # fmt: skip
    assert survey["anomaly"] == {"name": "pair", "labels": ["pair"]}

    # the small network, untrained, and few rounds, whatever is proposed
    write_generated_weights(root / "weights")
    small = {key: TINY[key] for key in ("evaluation", "mixture", "similarity")}
    settings = survey | small | {"recipe": UNTRAINED["recipe"], "anomaly": TINY["anomaly"]}
    path.write_text(yaml.safe_dump(settings | {"start_weights": ["imagenet"], "main_start_weights": "imagenet"}))
    known, instance = survey_files(root).known, dg.DagsterInstance.ephemeral()
    outcomes = list(in_process.run_survey(build_defs(root), known["mine"], known, instance, root))
    assert {one.status for one in outcomes} == {"done"}, [one for one in outcomes if one.error]
    layout = Layout(root)
    ranking = read_table(layout.table("mine", "anomaly_ranking"))
    assert 150 < ranking.num_rows <= 197
    made = read_table(layout.table("mine", "catalogue", "part_0001")).to_pylist()
    assert len(made) == 197
    assert all(row["galaxy_id"] == f"NGC {int(row['ra'])}" and row["dec"] == int(row["ra"]) / 4 - 40 for row in made)

    # the one that failed comes by `fetch`, and by the same command, which leaves the file as it is
    sky.forever.pop(9)
    code, said = ask("fetch", "mine")
    assert code == 0 and "198 done, 2 blank" in said
    assert pq.read_table(root / "raw/mine/ledger.parquet")["state"].to_pylist()[7:10] == ["blank", "blank", "done"]
    before, asked = path.read_text(), len(sky.asked)
    code, said = ask(*new)
    assert code == 0 and "stays as it is" in said and path.read_text() == before and len(sky.asked) == asked


def test_what_was_begun_goes_on_with_the_same_command(sky, tmp_path):
    table = catalogue(tmp_path, 30)
    sky.bad, sky.after = {12: ["429"]}, 7200
    new = ("survey", "new", "mine", "--catalogue", str(table), "--sky", "legacysurvey:ls-dr10", "--pixels", "48")
    code, said = ask(*new)
    assert code == 1 and "asks to come back in 7200 s; the same command goes on" in said
    assert not (tmp_path / "data/surveys/mine.yaml").exists()
    code, said = ask("fetch", "nosuch")
    assert code == 2 and "known are gz_decals, mirabest, weights, mine" in said
    code, said = ask(*new)
    assert code == 0 and "30 done" in said and len(sky.asked) == 31
    source = yaml.safe_load((tmp_path / "data/surveys/mine.yaml").read_text())["source"]
    assert source["label_column"] is None and source["ra_column"] == "ra"


def test_a_band_becomes_a_survey_of_fits(sky, tmp_path):
    new = ("survey", "new", "mine", "--catalogue", str(catalogue(tmp_path, 30)))
    code, said = ask(*new, "--sky", "CDS/P/NVSS", "--size", "60arcsec")
    assert code == 0 and "! Pixels of 0.938 arcsec are asked for and CDS/P/NVSS has 15" in said
    settings = yaml.safe_load((tmp_path / "data/surveys/mine.yaml").read_text())
    assert settings["source"]["reader"] == "fits_folder" and settings["cutout"]["grey"] is True


def test_where_everything_is_blank_it_is_said(sky, tmp_path):
    sky.forever = dict.fromkeys(range(30), "blank")
    code, said = ask("survey", "new", "mine", "--catalogue", str(catalogue(tmp_path, 30)), "--sky", COLOUR)
    assert code == 2 and "30 blank" in said and "no position has an image. Where all are blank" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give --images FOLDER, or --catalogue TABLE and --sky SKY"),
        (("--catalogue", "t.csv"), "--sky says where the cutouts come from"),
        (("--catalogue", "t.csv", "--sky", COLOUR, "--images", "x"), "--images: not for positions"),
        (("--images", "x", "--sky", COLOUR, "--size", "1deg"), "--sky, --size: only for positions"),
        (("--catalogue", "none.csv", "--sky", COLOUR), "none.csv: no such file"),
        (("--images", "x", "--ra-column", "a", "--dec-column", "b"), "are columns of a table; name it with --labels"),
        (("--images", "x", "--labels", "t.csv", "--ra-column", "a"), "--ra-column and --dec-column go together"),
        (("--catalogue", "t.csv", "--sky", "nosky"), "is no sky"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message, sky, tmp_path):
    code, said = ask("survey", "new", "mine", *options)
    assert code == 2 and message in said, said
    assert sky.asked == [] and not (tmp_path / "data" / "raw").exists()


@pytest.mark.parametrize("name", ["../x", "Mine", "demo_radio", "weights"])
def test_a_name_that_no_survey_can_have_makes_no_folder(name, sky, tmp_path):
    code, _ = ask("survey", "new", name, "--catalogue", str(catalogue(tmp_path, 3)), "--sky", COLOUR)
    assert code == 2 and sky.asked == [] and {p.name for p in tmp_path.iterdir()} <= {"positions.csv", "data"}
    assert not (tmp_path / "data/raw").exists()


def test_skies_are_listed_with_footprint_pixels_and_source():
    code, said = ask("survey", "skies")
    assert code == 0
    assert f"{COLOUR} optical: DESI Legacy Surveys DR10, g r i z two thirds of the sky" in said
    assert "pixels of 0.262 arcsec; Dey et al. 2019" in said and "CDS/P/NVSS radio" in said


def test_the_commands_load_neither_astropy_nor_a_client():
    code = "import sys, galaxy_assets.cli; print([m for m in ('astropy', 'httpx', 'astroquery') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert ran.stdout.strip() == "[]"
