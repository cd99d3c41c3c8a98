"""`labels` on the command line: what is given, listed, taken back and standing."""

import csv
import getpass
import os
import re

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import Origin, with_origin
from galaxy_assets.storage.tables import write_table
from galaxy_assets_tests.deliveries.test_label_files import zooniverse


@pytest.fixture
def layout(tmp_path, monkeypatch) -> Layout:
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path))
    layout = Layout(tmp_path)
    write_table(
        pa.table({"galaxy_id": ["a", "b"], "file": ["a.png", "b.png"]}), layout.table("mirabest", "catalogue", "b1")
    )
    return layout


def labels(*words: object) -> tuple[int, str]:
    ran = CliRunner().invoke(app, ["labels", *map(str, words)])
    return ran.exit_code, ran.output


def test_a_score_carries_who_gave_it_and_what_they_saw(layout):
    ranking, model = pa.table({"rank": [1]}), pa.table({"component": [0]})
    code, event = labels("add", "mirabest", "a", "--score", 4, "--note", "tail")
    assert code == 0
    write_table(with_origin(ranking, Origin(data="v7")), layout.table("mirabest", "anomaly_ranking"))
    write_table(with_origin(model, Origin(data="v3")), layout.table("mirabest", "pca_model", "imagenet"))
    assert labels("add", "mirabest", "b", "--label", "ring", "--who", "ben")[0] == 0
    first, second = LabelLog(layout.labels("mirabest")).read().to_pylist()
    assert (first["event"], first["who"], first["score"], first["note"]) == (
        event.strip(),
        getpass.getuser(),
        4,
        "tail",
    )
    assert first["ranking_seen"] is None and first["source"] == "cli"
    assert (second["kind"], second["label"], second["ranking_seen"]) == ("class", "ring", "v7")
    assert second["model_seen"] == "v3"


def test_a_file_that_is_not_there_is_said_as_such(layout, tmp_path):
    code, output = labels("import", "mirabest", "none.csv")
    assert code == 2 and "none.csv: no such file; name the file of labels" in " ".join(output.split()), output


def test_an_unknown_galaxy_is_refused_unless_forced(layout):
    code, output = labels("add", "mirabest", "zz", "--score", 1)
    assert code == 1 and "zz is not among the 2 galaxies in the catalogue of mirabest" in output
    assert not layout.labels("mirabest").exists()
    assert labels("add", "mirabest", "zz", "--score", 1, "--force")[0] == 0
    for wrong in (("a",), ("a", "--score", 1, "--label", "x"), ("a", "--score", 6)):
        assert labels("add", "mirabest", *wrong)[0] == 2
    assert labels("add", "nosuch", "a", "--score", 1)[0] == 2
    assert LabelLog(layout.labels("mirabest")).read().num_rows == 1


def test_import_list_undo_and_standing(layout, tmp_path):
    own = tmp_path / "own.csv"
    own.write_text("galaxy_id,score,who,time\na,4,ann,2026-01-01T00:00Z\na,1,ben,2026-01-02T00:00Z\nb,9,ann,\n")
    code, output = labels("import", "mirabest", own)
    assert code == 1 and "2 labels are new, 0 were there already" in output and "line 4: score 9" in output
    zoo = zooniverse(tmp_path / "zoo.csv", (1, "cat", "Yes"), subject={"#objid": "b"})
    assert labels("import", "mirabest", zoo)[0] == 2
    assert labels("import", "mirabest", zoo, "--answer", "Yes")[0] == 2
    assert labels("import", "mirabest", zoo, "--answer", "Yes=8")[0] == 2
    code, output = labels("import", "mirabest", zoo, "--task", "T0", "--answer", "Yes=5", "--answer", "Ring=ring")
    assert code == 0 and "1 labels are new" in output
    lines = labels("list", "mirabest", "--who", "ben")[1].splitlines()
    assert len(lines) == 2 and lines[1].endswith("ben  csv  a: score 1")
    undone = labels("undo", "mirabest", lines[1].split()[0], "--note", "slip")
    assert undone[0] == 0 and "takes back" in labels("list", "mirabest")[1]
    assert labels("undo", "mirabest", "nosuch")[0] == 2
    assert "a  4.00  1  -  people" in labels("standing", "mirabest")[1]
    before = labels("standing", "mirabest", "--until", "2026-01-02")[1].splitlines()
    assert before[1:] == [], "what was imported later was not known then, whenever it was said"
    recorded = LabelLog(layout.labels("mirabest")).read()["recorded"][0].as_py()
    then = labels("standing", "mirabest", "--until", recorded.isoformat())[1].splitlines()
    assert then[1:] == ["a  2.50  2  -  people"]
    assert labels("standing", "mirabest", "--until", "soon")[0] == 2
    assert labels("standing", "mirabest", "--csv", tmp_path / "s.csv")[0] == 0
    with (tmp_path / "s.csv").open() as stream:
        assert [(r["galaxy_id"], r["score"], r["n_people"]) for r in csv.DictReader(stream)] == [
            ("a", "4", "1"),
            ("b", "5", "1"),
        ]


def test_a_place_that_can_hold_no_file_is_told_in_words(layout, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("own")
    for wrong in ("folder", "file/x.csv"):
        code, output = labels("standing", "mirabest", "--csv", tmp_path / wrong)
        assert code == 1 and f"{wrong} is not written: " in output


def test_scores_of_another_scale_are_refused_with_the_remedy_and_a_low_range_is_questioned(layout, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("name,grade\n" + "".join(f"a,{i}\n" for i in range(20, 40)))
    code, output = labels("import", "mirabest", path, "--id-column", "name", "--score-column", "grade")
    assert code == 2 and "--range LOW HIGH" in " ".join(output.replace("│", " ").split())
    assert LabelLog(layout.labels("mirabest")).read().num_rows == 0
    path.write_text("name,grade\na,0.2\nb,0.9\n")
    code, output = labels("import", "mirabest", path, "--id-column", "name", "--score-column", "grade")
    assert code == 0 and "repeat it with --range 0 1" in output
    (undo,) = re.findall("`galaxy-assets labels (undo .*)`", output)
    code, output = labels("list", "mirabest")
    assert "score 0.9" in output
    assert labels(*undo.split()) == (0, "2 labels are taken back\n")
    assert labels("import", "mirabest", path, "--id-column", "name", "--score-column", "grade", "--range", 0, 1)[0] == 0
    assert "a  1.00" in labels("standing", "mirabest")[1] and "b  4.50" in labels("standing", "mirabest")[1]


def test_the_import_says_of_how_many_scores_the_ranking_learns(layout, tmp_path, monkeypatch):
    path = tmp_path / "scores.csv"
    path.write_text("galaxy_id,score\na,1\nb,2\n")
    assert "learns from a sample" not in labels("import", "mirabest", path)[1]
    monkeypatch.setattr("galaxy_assets.cli.labels.MOST_SCORES", 1)
    assert (
        "people have scored 2 galaxies now; the ranking learns from a sample of 1"
        in labels("import", "mirabest", path)[1]
    )


def test_a_user_without_a_name_on_this_machine_is_called_by_the_number(layout, monkeypatch):
    def nobody(number: int):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert labels("add", "mirabest", "a", "--score", 4)[0] == 0
    (event,) = LabelLog(layout.labels("mirabest")).read().to_pylist()
    assert event["who"] == f"user {os.getuid()}"
    assert labels("undo", "mirabest", event["event"])[0] == 0
