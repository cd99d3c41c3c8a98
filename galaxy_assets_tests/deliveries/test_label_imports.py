"""Labels that come in files: the good rows are kept, twice is once, and a list that has grown adds what is new."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv as arrow_csv

from galaxy_assets.deliveries.label_files import ScoreColumns, ZooniverseAnswers
from galaxy_assets.deliveries.label_imports import import_drop, import_file, take_back
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
    report = import_file(log, path, "ann", known={name: f"{name}.png" for name in "abc"})
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
    log.undo([ids(log.read())[0]], "ann")
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
    good, bad, zoo = import_drop(log, known={"g": "g.png"})
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


def test_an_import_taken_back_whole_can_be_imported_on_another_scale(log, tmp_path):
    path, columns = tmp_path / "unit.csv", ScoreColumns(scale=(0, 1))
    path.write_text("galaxy_id,score\n" + "".join(f"g{i},{i / 4}\n" for i in range(5)))
    (other,) = log.append([{"who": "ann", "kind": "score", "galaxy_id": "g0", "score": 2, "source": "cli"}])
    report = import_file(log, path, "ann")
    assert report.first in ids(log.read()) and len(log.files()) == 2
    assert take_back(log, report.first, "ann") == 5 and len(log.files()) == 3, "one file, not one for each label"
    assert take_back(log, report.first, "ann") == 0
    assert {row["galaxy_id"]: row["score"] for row in standing(log.read()).to_pylist()} == {"g0": 2.0}
    assert import_file(log, path, "ann", columns=columns).n_added == 5, "also the 0, which means the same"
    assert standing(log.read())["score"].to_pylist() == [0.0, 1.25, 2.5, 3.75, 5.0]
    again = import_file(log, path, "ann")
    assert (again.n_added, again.n_already) == (0, 5)
    assert again.notes == ["5 of those that were there already were taken back, and stay so"]
    for wrong in (other, "nosuch"):
        with pytest.raises(ValueError, match=f"{wrong} is no event of an import"):
            take_back(log, wrong, "ann")


def test_an_import_of_dated_rows_taken_back_whole_can_be_imported_otherwise_as_often_as_one_errs(log, tmp_path):
    path, columns = tmp_path / "unit.csv", ScoreColumns(scale=(0, 1))
    path.write_text("galaxy_id,score,time\n" + "".join(f"g{i},{i / 4},2026-01-0{i + 1}\n" for i in range(5)))

    def held() -> list[float]:
        return standing(log.read())["score"].to_pylist()

    for _ in range(2):
        wrong = import_file(log, path, "ann")
        assert wrong.n_added == (5 if wrong.first else 0)
        if wrong.first:
            take_back(log, wrong.first, "ann")
    assert wrong.notes == ["5 of those that were there already were taken back, and stay so"] and held() == []
    right = import_file(log, path, "ann", columns=columns)
    assert (right.n_added, right.n_already) == (5, 0) and held() == [0.0, 1.25, 2.5, 3.75, 5.0], "also the 0"
    again = import_file(log, path, "ann", columns=columns)
    assert (again.n_added, again.n_already, again.notes) == (0, 5, [])
    assert import_file(log, path, "ann").n_added == 0 and held() == [0.0, 1.25, 2.5, 3.75, 5.0]
    take_back(log, right.first, "ann")
    assert import_file(log, path, "ann", columns=ScoreColumns(scale=(0, 2))).n_added == 5
    assert held() == [0.0, 0.625, 1.25, 1.875, 2.5] and log.read().num_rows == 25


def test_rows_mean_the_galaxies_that_the_catalogue_has_and_others_are_named(log, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("galaxy_id,score\n42,1\n/mnt/disk/2026_02/1.png,2\n2026_03/1.png,3\n7.png,4\n")
    known = {"00042": "2026_01/00042.png", "1": "2026_01/1.png", "2026_02/1": "2026_02/1.png"}
    known |= {"x/7": "x/7.png", "y/7": "y/7.png"}
    report = import_file(log, path, "ann", known=known)
    assert sorted(log.read()["galaxy_id"].to_pylist()) == ["00042", "2026_02/1", "2026_03/1.png", "7.png"]
    assert report.n_unknown == 2
    assert report.notes == [
        "2 names are of no galaxy in the survey's catalogue: 2026_03/1.png (no image of that name was delivered); "
        "7.png (several images may have that name; write it as one of them has it, with its folder)"
    ]


def test_every_table_in_the_drop_folder_is_imported_or_told(log):
    log.folder.mkdir(parents=True)
    (log.folder / "A.CSV").write_text("galaxy_id,score\ng,1\n")
    (log.folder / "b.tsv").write_text("galaxy_id\tscore\ng\t2\n")
    for name in ("c.parquet", "d.FITS", "e.xlsx", "f.csv.gz"):
        (log.folder / name).write_bytes(b"")
    for name in ("notes.txt", "c.parquet.problems.txt", "zooniverse.yaml", "g.csv.part"):
        (log.folder / name).write_text("x")
    imported, told = {}, {}
    for report in import_drop(log):
        (told if report.source is None else imported)[report.path.name] = report
    assert {name: report.n_added for name, report in imported.items()} == {"A.CSV": 1, "b.tsv": 1}
    assert set(told) == {"c.parquet", "d.FITS", "e.xlsx", "f.csv.gz"}
    assert "galaxy-assets labels import s " in told["c.parquet"].problems[0]


def test_several_raters_without_a_column_of_names_are_refused_and_with_it_averaged(log, tmp_path):
    path = tmp_path / "raters.csv"
    rows = [f"g{i},{score},{rater}\n" for i in range(4) for rater, score in (("ann", i), ("ben", i + 1))]
    path.write_text("galaxy_id,score,rater\n" + "".join(rows))
    with pytest.raises(ValueError, match="raters.csv: 4 of 8 rows say something else.*--who-column NAME"):
        import_file(log, path, "ada")
    assert log.files() == []
    assert import_file(log, path, columns=ScoreColumns(who="rater")).n_added == 8
    assert standing(log.read()).select(["score", "n_people"]).to_pylist() == [
        {"score": i + 0.5, "n_people": 2} for i in range(4)
    ]
    with pytest.raises(ValueError, match="no column grader"):
        import_file(log, path, columns=ScoreColumns(who="grader"))


def test_classes_beside_graded_scores_or_in_their_place_are_imported_too(log, tmp_path):
    both = tmp_path / "both.csv"
    both.write_text("galaxy_id,score,label,rater\na,1,ring,ann\nb,,merger,ben\nc,2,,ben\nd,,,ben\n")
    report = import_file(log, both, columns=ScoreColumns(who="rater"))
    assert (report.n_added, report.n_unlabelled, report.problems) == (4, 1, [])
    classes = tmp_path / "classes.csv"
    classes.write_text("galaxy_id,label,rater\na,ring,cid\na,spiral,dan\n")
    assert import_file(log, classes, columns=ScoreColumns(who="rater")).n_added == 2
    with pytest.raises(ValueError, match="no column score; it has galaxy_id, label, rater"):
        import_file(log, classes, columns=ScoreColumns(scale=(1, 10)))
    said = [(row["galaxy_id"], row["label"], row["who"]) for row in log.read().to_pylist() if row["label"]]
    assert sorted(said) == [("a", "ring", "ann"), ("a", "ring", "cid"), ("a", "spiral", "dan"), ("b", "merger", "ben")]


def test_a_label_that_is_a_number_of_a_source_is_no_class(log, tmp_path):
    path = tmp_path / "sources.csv"
    path.write_text("label,file,interest\n1,a.png,0.5\n2,b.png,5\n")
    assert import_file(log, path, "ann", columns=ScoreColumns("file", "interest")).n_added == 2
    assert log.read()["label"].null_count == 2


def test_rows_that_repeat_are_counted_for_what_they_are(log, tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("galaxy_id,score\na,1\na,1\nb,0\nb,4\n" + "".join(f"c{i},2\n" for i in range(20)))
    report = import_file(log, path, "ann")
    assert (report.n_added, report.n_already) == (23, 0)
    assert [note.split(". ")[0] for note in report.notes] == [
        "1 rows repeat an earlier row of the same person and add nothing",
        "1 rows replace what the same person says of the galaxy in an earlier row",
    ]
    assert {r["galaxy_id"]: r["score"] for r in standing(log.read()).to_pylist()}["b"] == 4.0
    again = import_file(log, path, "ann")
    assert (again.n_added, again.n_already) == (0, 23)
