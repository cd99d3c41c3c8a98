"""Subjects for Zooniverse, and the round trip of what volunteers say of them."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.deliveries.label_files import ZooniverseAnswers
from galaxy_assets.deliveries.label_imports import import_file
from galaxy_assets.lake import export_subjects as module
from galaxy_assets.lake.export_subjects import export_subjects
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table
from galaxy_assets_tests.deliveries.test_label_files import ZOONIVERSE
from galaxy_assets_tests.lake.test_export import pixels

ODD = ZooniverseAnswers(answers={"Odd": 5, "Plain": 0})


def rows_of(path) -> list[dict]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def classified(path, manifest: list[dict], answers: list[str]):
    """The classification export of a project with these subjects, as Zooniverse writes one."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(ZOONIVERSE.split(","))
        for number, (subject, answer) in enumerate(zip(manifest, answers, strict=True), 1):
            said = json.dumps([{"task": "T0", "task_label": "Is it odd?", "value": answer}])
            data = json.dumps({str(900 + number): {"retired": None, "Filename": subject["image"], **subject}})
            when = f"2026-03-01 10:44:{number:02d} UTC"
            writer.writerow([number, "ann", 7, "f00", 61, "odd", "1.2", when, "", "", "{}", said, data, 900 + number])
    return path


def test_a_manifest_shows_volunteers_a_name_that_says_nothing(world, tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(world.root))
    ran = CliRunner().invoke(app, ["export", "subjects", "tiny", "--to", str(tmp_path / "s"), "--first", "6"])
    assert ran.exit_code == 0 and "manifest.csv with 6 subjects" in ran.output, ran.output
    manifest = rows_of(tmp_path / "s/manifest.csv")
    ranking = read_table(Layout(world.root).table("tiny", "anomaly_ranking")).sort_by("rank").slice(0, 6)
    assert {row["#galaxy_id"] for row in manifest} == set(ranking["galaxy_id"].to_pylist())
    assert [name for name in manifest[0] if not name.startswith("#")] == ["image"]
    assert [row["image"] for row in manifest] == sorted(row["image"] for row in manifest)
    for row in manifest:
        assert row["#galaxy_id"] not in row["image"] and row["#galaxy_assets_survey"] == "tiny"
        with Image.open(tmp_path / "s" / row["image"]) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels(world, row["#galaxy_id"]))
    assert len(list((tmp_path / "s").iterdir())) == 6 + 2


def test_an_image_that_is_too_large_as_png_is_a_jpeg(world, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LARGEST", 2_000)
    manifest = export_subjects("tiny", tmp_path / "s", 2, root=world.root)
    assert all(name.endswith(".jpg") for name in manifest["image"].to_pylist())


def test_classifications_of_the_subjects_become_events_once(world, tmp_path):
    manifest = export_subjects("tiny", tmp_path / "s", 4, root=world.root)
    rows = rows_of(tmp_path / "s/manifest.csv")
    rows.append(rows[0] | {"#galaxy_assets_survey": "other", "#galaxy_id": "of_another_survey"})
    export = classified(tmp_path / "c.csv", rows, ["Odd", "Plain", "Odd", "I do not know", "Odd"])
    log = LabelLog(tmp_path / "labels/tiny")
    report = import_file(
        log, export, answers=ODD, known={name: f"{name}.png" for name in manifest["#galaxy_id"].to_pylist()}
    )
    assert (report.n_added, report.n_unlabelled, report.n_unknown, report.problems) == (3, 2, 0, [])
    events = log.read().to_pylist()
    expected = dict(zip(manifest["#galaxy_id"].to_pylist(), [5, 0, 5], strict=False))
    assert {e["galaxy_id"]: e["score"] for e in events} == expected
    assert {(e["who"], e["source"], e["kind"]) for e in events} == {("ann", "zooniverse", "score")}
    again = import_file(log, export, answers=ODD)
    assert (again.n_added, again.n_already) == (0, 3) and len(log.read()) == 3


@pytest.mark.parametrize("galaxy", ["-12d30", "=HYPERLINK(1)", "'ngc'", "J1034.6-0051", "587722981741363294"])
def test_an_id_comes_back_from_a_manifest_as_it_was(galaxy, tmp_path):
    from galaxy_assets.settings.spreadsheets import written

    subject = {"image": "subject_1.png", "#galaxy_id": written(galaxy), "#galaxy_assets_survey": "tiny"}
    log = LabelLog(tmp_path / "labels/tiny")
    assert import_file(log, classified(tmp_path / "c.csv", [subject], ["Odd"]), answers=ODD).n_added == 1
    assert log.read()["galaxy_id"].to_pylist() == [galaxy]
