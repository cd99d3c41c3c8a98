"""`run` says what a person must see: when it is found, and at the end."""

import shutil

import dagster as dg
import yaml
from typer.testing import CliRunner

import galaxy_assets.cli.run as command
from galaxy_assets.cli import app, summary
from galaxy_assets.cli.status import said_aloud
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table
from galaxy_assets_tests.conftest import UNTRAINED


def test_a_rule_that_would_remove_nearly_all_removes_nothing_and_is_told_until_a_person_says_yes(
    untrained, tmp_path, monkeypatch
):
    root = tmp_path / "data"
    shutil.copytree(untrained, root)
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(root))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))

    def run(**artefacts):
        (root / "surveys/tiny.yaml").write_text(yaml.safe_dump(UNTRAINED | {"artefacts": artefacts}))
        return CliRunner().invoke(app, ["run", "tiny"])

    ran, layout = run(blank_fraction=0.0), Layout(root)
    assert ran.exit_code == 0, ran.output
    words = "removal_agreed: 36 of 36 images with pixels look like artefacts (blank 36) and are kept"
    assert [line.strip() for line in ran.output.splitlines() if words in line] == [
        line.strip() for line in ran.output.splitlines() if "artefacts.most_removed in data/surveys/tiny.yaml" in line
    ]
    assert ran.output.count(words) == 2 and f"  ! {words}" in ran.output.split("what was found")[1]
    clean = read_table(layout.table("tiny", "clean_galaxies", "first"))
    assert clean["kept"].to_pylist() == [True] * 36 and clean["rule"].to_pylist() == ["blank"] * 36
    picture = layout.figure("tiny", "would_be_removed", "first")
    assert picture.exists() and str(picture) in ran.output
    assert not read_table(layout.table("tiny", "artefact_regions")).num_rows  # all are suspect: no evidence
    with dg.DagsterInstance.get() as instance:
        key = dg.AssetCheckKey(dg.AssetKey(["tiny", "clean_galaxies"]), "removal_agreed")
        (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        found = record.event.dagster_event.asset_check_evaluation_data
        assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.ERROR, False)
    assert f"look            {words}" in CliRunner().invoke(app, ["status", "tiny"]).output

    ran = run(blank_fraction=0.0, most_removed=1)  # what the words name
    assert "0 of 36 images are left" in ran.output and "no_remnant: 0 of 36 images are kept" in ran.output
    assert "removal_agreed" not in ran.output


def test_what_people_scored_is_told_and_equal_scores_are_said_aloud(untrained, tmp_path, monkeypatch):
    root, table = tmp_path / "data", tmp_path / "scores.csv"
    shutil.copytree(untrained, root)
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(root))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    read = []
    for module in (command, summary):
        monkeypatch.setattr(
            module, "said_aloud", lambda survey, layout: read.append(survey) or said_aloud(survey, layout)
        )
    ranked = read_table(Layout(root).table("tiny", "anomaly_ranking"))["galaxy_id"].to_pylist()

    def ask(*words):
        ran = CliRunner().invoke(app, list(words))
        assert ran.exit_code == 0, ran.output
        return ran.output

    def score(value):
        rows = [f"{galaxy},{value(i)}" for i, galaxy in enumerate(ranked)]
        table.write_text("\n".join(["galaxy_id,score", *rows]))
        ask("labels", "import", "tiny", str(table), "--who", "ada")

    assert "scores " not in ask("status", "tiny")
    score(lambda i: 3)
    waits = f"people have scored {len(ranked)} galaxies, all 3; the ranking learns"
    assert f"scores          {waits} from 0 of them; {len(ranked)} newer scores wait for a run" in ask("status", "tiny")
    found, told = f"posterior_informed: all {len(ranked)} scores given are 3, so they tell no", ask("run", "tiny")
    assert f"  {waits} nothing from them" in told and told.count(found) == 2 and len(read) == 1
    assert found in ask("status", "tiny") and f"  {waits} nothing from them" in ask("status", "tiny")
    assert ask("run", "tiny").count(found) == 1 and len(read) == 2, "nothing was made: read once, at the end"
    score(lambda i: i % 6)
    told = ask("run", "tiny")
    assert f"people have scored {len(ranked)} galaxies, from 0 to 5; the ranking learns from {len(ranked)} of" in told
    assert "posterior_informed" not in told
