"""A person's words about clusters outlast a refit, and none is lost or given to another cluster in silence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_assets.science import worksheet
from galaxy_assets.science.worksheet import Override

INITS = ("random", "imagenet")
HEADER = "init,cluster,description,label,artefact,exemplars\n"


def written(tmp_path, text: str):
    path = tmp_path / "tiny_clusters.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_follows_its_exemplars_to_the_cluster_of_another_number(tmp_path):
    path = written(tmp_path, HEADER + 'imagenet,3,"Rings, seen from above",ring,,a;b; c\n')
    rows = worksheet.read_worksheet(path, INITS)
    table = worksheet.match(rows, {"a": 7, "b": 7, "c": 1, "d": 3}, path)
    assert worksheet.overrides(table) == {7: Override("Rings, seen from above", "ring", None)}
    (row,) = table.to_pylist()
    assert (row["line"], row["written_for"], row["exemplars"], row["n_held"]) == (2, "3", ["a", "b", "c"], 2)


def test_a_row_whose_exemplars_are_scattered_or_gone_is_kept_and_about_no_cluster(tmp_path):
    path = written(tmp_path, HEADER + "random,3,Rings,,,a;b;c;d\nrandom,4,Bars,,,x;y;z\n")
    table = worksheet.match(worksheet.read_worksheet(path, INITS), {"a": 0, "b": 0, "c": 1, "x": 2}, path)
    assert table["cluster"].to_pylist() == [None, None] and table["n_held"].to_pylist() == [2, 1]
    assert table["description"].to_pylist() == ["Rings", "Bars"] and worksheet.overrides(table) == {}


def test_two_rows_about_one_cluster_are_an_error_in_words(tmp_path):
    path = written(tmp_path, HEADER + "random,3,Rings,,,a;b\nrandom,4,Bars,,,c;d\n")
    rows = worksheet.read_worksheet(path, INITS)
    with pytest.raises(ValueError, match=r"tiny_clusters.csv: lines 2 and 3 are both about cluster 5.*delete"):
        worksheet.match(rows, dict.fromkeys("abcd", 5), path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("init,cluster,label\nrandom,1,x\n", "no column exemplars; it has init, cluster, label.*template"),
        ("init,exemplars\nrandom,a\n", "no column description, label or artefact"),
        ("", "no column exemplars, init"),
        (HEADER + "rgz,1,Rings,,,a\n", "line 2: start weights 'rgz' are not among random, imagenet"),
        (HEADER + "random,1,Rings,,, ;\n", "line 2: no exemplars"),
        (HEADER + "random,1,,,,a\nrandom,1,Rings,,perhaps,a\n", "line 3: artefact is 'perhaps'; write yes or no"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_remedy(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"tiny_clusters.csv.*{message}"):
        worksheet.read_worksheet(written(tmp_path, text), INITS)


def test_a_file_that_is_no_text_is_an_error(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xff\xfe\x00init")
    with pytest.raises(ValueError, match="x.csv: not a CSV in UTF-8"):
        worksheet.read_worksheet(path, INITS)


def test_a_template_copied_as_it_is_says_nothing_new(tmp_path):
    said = {1: Override("Rings", None, True)}
    words = {0: ("Spiral galaxies", "of 10"), 1: ("Rings", "of 9")}
    text = worksheet.template("random", {0: ["a", "b"], 1: ["c"]}, words, said)
    path = written(tmp_path, text)
    assert "Spiral galaxies" in text
    table = worksheet.match(worksheet.read_worksheet(path, INITS), {"a": 0, "b": 0, "c": 1}, path)
    assert worksheet.overrides(table) == said


cells = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12).map(str.strip)


letters = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))
ids = st.lists(st.text(st.sampled_from("ab ;\"'=\t") | letters, min_size=1), min_size=1, unique=True)


@settings(deadline=None)
@given(ids)
def test_exemplars_come_back_whatever_their_ids(galaxies):
    assert worksheet.exemplars_read(worksheet.exemplars_written(galaxies)) == tuple(galaxies)


@settings(deadline=None)
@given(st.lists(ids, min_size=1, max_size=3))
def test_exemplars_come_back_through_the_template_whatever_their_ids(tmp_path_factory, named):
    exemplars = dict(enumerate(named))
    said = dict.fromkeys(exemplars, Override("Rings"))
    text = worksheet.template("random", exemplars, dict.fromkeys(exemplars, ("", "")), said)
    path = tmp_path_factory.mktemp("sheet") / "tiny_clusters.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert [list(row.exemplars) for row in worksheet.read_worksheet(path, INITS)] == list(exemplars.values())


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a;b; c", ["a", "b", "c"]),
        ("a; ;b;", ["a", "b"]),
        ('g47" onload="x;"open', ['g47" onload="x', '"open']),
        ('"a;b.png"; " c" ;d', ["a;b.png", " c", "d"]),
    ],
)
def test_exemplars_are_read_as_people_and_earlier_pages_wrote_them(cell, expected):
    assert list(worksheet.exemplars_read(cell)) == expected


@settings(deadline=None)
@given(st.lists(st.tuples(cells, cells, st.sampled_from([None, True, False])), min_size=1, max_size=5))
def test_what_is_said_comes_back_through_the_template(tmp_path_factory, said):
    wanted = {k: Override(d or None, label or None, artefact) for k, (d, label, artefact) in enumerate(said)}
    exemplars = {k: [f"g{k}", f"h{k}"] for k in wanted}
    text = worksheet.template("random", exemplars, dict.fromkeys(wanted, ("", "")), wanted)
    path = written(tmp_path_factory.mktemp("sheet"), text)
    cluster_of = {galaxy: k for k, ids in exemplars.items() for galaxy in ids}
    found = worksheet.overrides(worksheet.match(worksheet.read_worksheet(path, INITS), cluster_of, path))
    assert found == {k: override for k, override in wanted.items() if override != Override()}
