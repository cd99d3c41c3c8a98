"""`status` says what is outdated and why, what is held, and what has drifted."""

import pyarrow as pa
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.orchestration.assets.structure import DRIFT
from galaxy_assets.orchestration.automation.deliveries import LEDGER
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import write_table


def status(monkeypatch, root, *words) -> str:
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(root))
    ran = CliRunner().invoke(app, ["status", *words])
    assert ran.exit_code == 0, ran.output
    return ran.output


def test_a_survey_that_was_run_is_up_to_date_but_for_the_start_without_weights(world, monkeypatch):
    said = status(monkeypatch, world.root)
    assert "Tiny survey (tiny)" in said and "2 whole" in said
    assert "Tiny survey (tiny): " in said and " of 110 tables are up to date; `galaxy-assets run tiny` makes" in said
    assert "byol_checkpoints/demo_optical and 5 more: never made" in said and "drift" not in said
    assert "/imagenet" not in said and "\n  cutouts" not in said and len(said.splitlines()) < 10
    everything = status(monkeypatch, world.root, "--all")
    assert everything.count(": never made") > 10 and "embeddings/first/demo_optical: never made" in everything


def test_of_a_survey_that_is_up_to_date_a_few_lines_are_said(untrained, monkeypatch):
    said = status(monkeypatch, untrained, "tiny")
    assert "Tiny survey (tiny): all " in said and " tables are up to date\n" in said
    assert len(said.strip().splitlines()) <= 4 and "1 whole" in said


def test_what_is_held_and_what_has_drifted_is_said(tmp_path, monkeypatch):
    assert "nothing was run yet" in status(monkeypatch, tmp_path)
    held = {"delivery": "b1", "state": "held", "reason": "truncated zip; copy it again"}
    write_table(pa.Table.from_pylist([held], schema=LEDGER), Layout(tmp_path).table("mirabest", "deliveries"))
    row = {"name": "shift", "value": 0.8, "fitted": 0.0, "limit": 0.5, "exceeded": True, "words": "shift of the mean"}
    write_table(pa.Table.from_pylist([row], schema=DRIFT), Layout(tmp_path).table("mirabest", "batch_drift", "b0"))
    said = status(monkeypatch, tmp_path)
    assert "b1 is held: truncated zip" in said and "b0: shift of the mean 0.80 (limit 0.50)" in said
    assert "run mirabest --retrain" in said
