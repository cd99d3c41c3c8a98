"""Labels that come in files: the good rows are kept, twice is once, and a list that has grown adds what is new."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv as arrow_csv

from galaxy_assets.deliveries.label_files import ZooniverseAnswers
from galaxy_assets.deliveries.label_imports import import_drop, import_file
from galaxy_assets.science.labels import standing
from galaxy_assets.settings.spreadsheets import for_spreadsheets
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets_tests.deliveries.test_label_files import HASH, zooniverse


@pytest.fixture
def log(tmp_path) -> LabelLog:
    return LabelLog(Layout(tmp_path).labels("s"))


def ids(table: pa.Table) -> list[str]:
    return table["event"].to_pylist()


def test_an_import_keeps_the_good_rows_and_twice_is_once(log, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("galaxy_id,score,who,time\na,4,,\nb,7,,\nc,0,ben,2026-01-01T00:00:00Z\nz,3,,\n")
    report = import_file(log, path, "ann", known={"a", "b", "c"})
    assert (report.source, report.n_added, report.n_already, report.n_unknown) == ("csv", 3, 0, 1)
    assert report.problems == ["line 3: score 7 is not between 0 and 5"]
    again = import_file(log, path, "ann")
    assert (again.n_added, again.n_already) == (0, 3) and log.read().num_rows == 3
    rows = {row["galaxy_id"]: row for row in log.read().to_pylist()}
    assert rows["c"]["who"] == "ben" and rows["c"]["event"].startswith("20260101T000000") and rows["a"]["who"] == "ann"
    assert import_file(log, path).n_added == 2, "another person, by the owner of the file"
    assert {row["who"] for row in log.read().to_pylist()} == {"ann", "ben", path.owner()}


def test_a_list_that_has_grown_adds_what_is_new_in_it(log, tmp_path):
    path = tmp_path / "ml_scores.csv"

    def imported(*given: int) -> int:
        path.write_text(",score,human_label\n" + "".join(f"J{i},0.5,{label}\n" for i, label in enumerate(given)))
        return import_file(log, path, "ann").n_added

    def held() -> list[float]:
        return standing(log.read())["score"].to_pylist()

    assert imported(3, -1, -1) == 1 and imported(3, 0, -1) == 1 and held() == [3.0, 0.0]
    log.undo(ids(log.read())[0], "ann")
    assert imported(3, 0, 5) == 1 and held() == [0.0, 5.0], "what was taken back does not come back"
    assert imported(4, 0, 5) == 1 and imported(3, 1, 5) == 2 and held() == [3.0, 1.0, 5.0], "a changed mind does"


def test_versions_of_a_list_that_lie_side_by_side_do_not_fight(log):
    log.folder.mkdir(parents=True)
    for name, rows in (
        ("1", "J1,0.1,3\n"),
        ("2", "J1,0.1,3\nJ2,0.2,0\n"),
        ("3", "J1,0.4,3\nJ2,0.5,0\n"),
        ("4", "J1,1,5\n"),
    ):
        (log.folder / f"{name}.csv").write_text(f",score,human_label\n{rows}")
    assert [r.n_added for r in import_drop(log)] == [1, 1, 0, 1]
    assert [r.n_added for r in import_drop(log)] == [0, 0, 0, 0]
    assert standing(log.read())["score"].to_pylist() == [5.0, 0.0]


def test_zooniverse_keeps_no_address_and_knows_classifications_again(log, tmp_path):
    rows = [(1, "ann", "Yes"), (2, f"not-logged-in-{HASH}", "No"), (3, "ann", "No")]
    answers = ZooniverseAnswers(answers={"Yes": 5, "No": 0})
    with pytest.raises(ValueError, match="--task and --answer"):
        import_file(log, zooniverse(tmp_path / "c.csv", *rows))
    assert import_file(log, zooniverse(tmp_path / "c.csv", *rows[:2]), answers=answers).n_added == 2
    grown = import_file(log, zooniverse(tmp_path / "c.csv", *rows), answers=answers)
    assert (grown.n_added, grown.n_already) == (1, 2)
    assert HASH not in str(log.read().to_pylist()) and pc.unique(log.read()["source"]).to_pylist() == ["zooniverse"]
    assert all(HASH.encode() not in file.read_bytes() for file in log.events.glob("*.parquet"))


def test_the_drop_folder_is_imported_with_a_report_per_file(log):
    log.folder.mkdir(parents=True)
    for name in ("a.csv", ".hidden.csv", "c.csv.part", "d.csv.tmp"):
        (log.folder / name).write_text("galaxy_id,score\ng,1\n")
    (log.folder / "b.csv").write_text("ra,dec\n1,2\n")
    zooniverse(log.folder / "zoo.csv", (1, "ann", "Yes"))
    (log.folder / "zooniverse.yaml").write_text("answers: {'Yes': 5}\n")
    good, bad, zoo = import_drop(log, known={"g"})
    assert [r.path.name for r in (good, bad, zoo)] == ["a.csv", "b.csv", "zoo.csv"]
    assert (good.n_added, bad.n_added, zoo.n_added, zoo.n_unknown) == (1, 0, 1, 1)
    assert "those of no label file" in bad.problems[0] and not good.problems
    assert [r.n_added for r in import_drop(log)] == [0, 0, 0] and log.read().num_rows == 2


def test_ids_that_would_be_formulas_go_out_quoted_and_come_back_as_they_are(log, tmp_path):
    ids = ["=HYPERLINK(1)", "-12.5", "'ngc'", "'-1", "@a", '="1"', "+'", "J1", "'", "=a'b\"", "==1"]
    table = pa.table({"galaxy_id": ids, "score": [3] * len(ids)})
    arrow_csv.write_csv(for_spreadsheets(table), tmp_path / "out.csv")
    written = (tmp_path / "out.csv").read_text().splitlines()
    assert not any(line.lstrip('"').startswith(tuple("=+-@")) for line in written)
    assert import_file(log, tmp_path / "out.csv").problems == []
    assert sorted(log.read()["galaxy_id"].to_pylist()) == sorted(ids)
