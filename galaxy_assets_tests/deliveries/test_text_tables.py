"""Tables of text as people and programs write them: the same cells, and every line that gives no row is said."""

import bz2
import csv
import gzip
import io

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.deliveries.readers import text_tables
from galaxy_assets.deliveries.readers.text_tables import read_text_table

ROWS = [["g0", "spiral"], ["g1", "smooth"], ["g2", "spiral"]]
PLAIN = "id,label\ng0,spiral\ng1,smooth\ng2,spiral\n"


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (PLAIN, 0),
        (PLAIN.replace("\n", "\r\n"), 0),
        (PLAIN.replace("\n", "\r"), 0),
        (PLAIN.replace(",", ";"), 0),
        (PLAIN.replace(",", "\t"), 0),
        (PLAIN.replace(",", " | "), 0),
        (PLAIN.replace(",", "   "), 0),
        (PLAIN.replace(",", "   ").replace("smooth", '"smooth"'), 0),
        (PLAIN.replace("g1", "'g1'"), 0),
        (PLAIN.replace("g1", '"=""g1"""'), 0),
        ("Galaxies of 2024\n\n" + PLAIN, 1),
        ("Galaxies of 2024\n\n" + PLAIN.replace(",", ";"), 1),
        ("Galaxies of 2024,\nby me,\n" + PLAIN, 1),
        (PLAIN.replace(",", ", "), 0),
        (PLAIN.replace(",", ",\t"), 0),
        (PLAIN.replace("g0,", '"g0" ,'), 0),
        ("\n\n" + PLAIN + "\n\n", 0),
        ("sep=,\n" + PLAIN, 0),
        ("# made on a day\n#\n" + PLAIN, 1),
        ("# id,label\n" + PLAIN.partition("\n")[2], 0),
        ("#id,label\n" + PLAIN.partition("\n")[2], 0),
        (PLAIN + "# the end\n", 1),
        (PLAIN + "id,label\n", 1),
        (PLAIN.replace("label\n", "label\n--,-----\n").replace(",", "\t"), 0),
        (PLAIN.replace("label\n", "label\n ,\n--,-----\n").replace(",", "\t"), 0),
        (PLAIN.replace("label\n", "label\n , class\nA4,\n==,=====\n").replace(",", ";"), 0),
        ("--  -----\n" + PLAIN.replace("label\n", "label\n--,-----\n").replace(",", "  "), 0),
        (PLAIN.replace("label\n", "label\n--,-----\n") + "id,label\n--,-----\n", 1),
        (PLAIN.replace("label\n", "label\n--+-----\n").replace(",", " | "), 0),
        (PLAIN.replace("g1,smooth", "g1,smooth,"), 0),
        (PLAIN + "g3,spiral,near a star\n", 1),
        (PLAIN + 'g3,"spiral\ng4,smooth\n'.replace("g4,smooth\n", ""), 1),
        (PLAIN.encode("utf-8-sig"), 0),
        (PLAIN.encode("utf-16"), 0),
        (gzip.compress(PLAIN.encode(), mtime=0), 0),
        (bz2.compress(PLAIN.encode()), 0),
    ],
)
def test_every_way_of_writing_gives_the_same_rows(tmp_path, content, notes):
    (tmp_path / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_text_table(tmp_path / "t.csv")
    assert (found.names, found.rows) == (["id", "label"], ROWS)
    assert len(found.notes) == notes


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", '{"g0": "spiral", "g1": "smooth", "g2": "spiral"}'),
        (
            "t.json",
            '[{"id": "g0", "label": "spiral"}, {"id": "g1", "label": "smooth"}, {"id": "g2", "label": "spiral"}]',
        ),
        ("t.json", '{"id": ["g0", "g1", "g2"], "label": ["spiral", "smooth", "spiral"]}'),
        ("t.json", '{"g0": {"label": "spiral"}, "g1": {"label": "smooth"}, "g2": {"label": "spiral"}}'),
        ("t.json", '{"label": {"g0": "spiral", "g1": "smooth", "g2": "spiral"}}'),
        (
            "t.jsonl",
            '{"id": "g0", "label": "spiral"}\n{"id": "g1", "label": "smooth"}\n{"id": "g2", "label": "spiral"}\n',
        ),
    ],
)
def test_json_is_a_table_too(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    found = read_text_table(tmp_path / name)
    assert (found.names, found.rows) == (["id", "label"], ROWS)


@pytest.mark.parametrize("orient", ["columns", "index", "split", "records", "table"])
@pytest.mark.parametrize("index", [None, "id"])
def test_json_of_pandas_is_a_table_however_it_lies(tmp_path, orient, index):
    frame = pandas.DataFrame(ROWS, columns=["id", "label"])
    (frame if index is None else frame.set_index(index)).to_json(tmp_path / "t.json", orient=orient)
    found = read_text_table(tmp_path / "t.json")
    if orient != "records" or index is None:
        name = "id" if index is None or "id" in found.names else "index"
        cells = [[row[found.names.index(name)], row[found.names.index("label")]] for row in found.rows]
        assert cells == ROWS


def test_json_of_images_with_numbered_fields_has_a_row_for_each_image(tmp_path):
    (tmp_path / "t.json").write_text(
        '{"a.png": {"0": 0.1, "1": 0.9}, "b.png": {"0": 0.2, "1": 0.8}, "c.png": {"0": 1, "1": 0}}'
    )
    assert [row[0] for row in read_text_table(tmp_path / "t.json").rows] == ["a.png", "b.png", "c.png"]
    (tmp_path / "none.json").write_text("{}")
    assert read_text_table(tmp_path / "none.json").rows == []


def test_json_of_columns_of_different_lengths_is_refused_in_words(tmp_path):
    (tmp_path / "t.json").write_text('{"id": ["g0", "g1"], "label": ["spiral"]}')
    with pytest.raises(ValueError, match="its JSON has columns of 2, 1 values"):
        read_text_table(tmp_path / "t.json")


@pytest.mark.parametrize(
    "content", ["g0,spiral\ng1,smooth\ng2,spiral\n", "a.png,1\nb.png,2\n", "1,2\n3,4\n", "g0;0,5\ng1;0,7\n"]
)
def test_a_table_without_names_loses_no_row(tmp_path, content):
    (tmp_path / "t.csv").write_text(content)
    found = read_text_table(tmp_path / "t.csv")
    assert found.names == ["column_1", "column_2"] and len(found.rows) == content.count("\n")
    assert "no line names the columns" in found.notes[0]


@pytest.mark.parametrize("header", ["objid,class", "Galaxy Name,Type of galaxy", "x,y", "id,0,1", "iauname,g0"])
def test_names_are_known_as_such(tmp_path, header):
    n = header.count(",")
    (tmp_path / "t.csv").write_text(f"{header}\n" + "".join(f"g{i}{',spiral' * n}\n" for i in range(3)))
    assert read_text_table(tmp_path / "t.csv").names == header.split(",")


def test_a_stray_quote_costs_its_own_line(tmp_path):
    lines = [f"g{i:02d},spiral" for i in range(28)]
    lines[4] = 'g04,"spiral'
    (tmp_path / "t.csv").write_text("id,label\n" + "\n".join(lines) + "\n")
    found = read_text_table(tmp_path / "t.csv")
    assert [row[0] for row in found.rows] == [f"g{i:02d}" for i in range(28) if i != 4]
    assert found.notes == ["1 lines have a quote that is not closed, such as line 6: they are no rows"]


def test_line_breaks_in_quotes_stay_and_lines_are_counted(tmp_path):
    (tmp_path / "t.csv").write_text('id,note\na,"two\nlines"\nb,"a ""quoted"" word"\n')
    found = read_text_table(tmp_path / "t.csv")
    assert found.rows == [["a", "two\nlines"], ["b", 'a "quoted" word']] and found.lines == [3, 4]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"PK\x03\x04\x00\x00", "spreadsheet must be saved as CSV"), (b"a,b\n1,2,3\n4,5,6\n7,8,9\n", "more than 2 cells")],
)
def test_what_is_no_table_is_said(tmp_path, content, says):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=says):
        read_text_table(tmp_path / "t.csv")


def test_latin_letters_are_kept_and_said(tmp_path):
    (tmp_path / "t.csv").write_bytes("id,label\na,galaxie émission\n".encode("latin-1"))
    found = read_text_table(tmp_path / "t.csv")
    assert found.rows == [["a", "galaxie émission"]] and "Windows-1252" in found.notes[0]


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6), st.sampled_from(",;\t"))
def test_what_csv_writes_is_read(tmp_path_factory, rows, delimiter):
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("id", "label"), *rows])
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text(stream.getvalue(), encoding="utf-8")
    assert [tuple(row) for row in read_text_table(path).rows] == [row for row in rows if row != ("id", "label")]


@pytest.mark.parametrize("columns", [2, 3, 5])
def test_no_arrangement_of_stray_quotes_hides_a_row(tmp_path, columns):
    for seed in range(150):
        rng = np.random.default_rng([seed, columns])
        rows = [",".join([f"g{i}", *map(str, rng.integers(0, 9, columns - 1))]) for i in range(30)]
        for _ in range(rng.integers(1, 4)):
            i = int(rng.choice([0, 1, 5, 6, 20, 29])) if rng.random() < 0.5 else int(rng.integers(30))
            at = [0, len(rows[i]), *(k + 1 for k, c in enumerate(rows[i]) if c == ",")]
            k = int(rng.choice(at)) if rng.random() < 0.5 else int(rng.integers(len(rows[i]) + 1))
            rows[i] = f'{rows[i][:k]}"{rows[i][k:]}'
        names = ",".join(["galaxy_id", *(f"c{i}" for i in range(columns - 1))])
        (tmp_path / "a.csv").write_text("\n".join([names, *rows]) + "\n")
        found = read_text_table(tmp_path / "a.csv")
        lost = sum(int(note.split()[0]) for note in found.notes if "no rows" in note)
        assert len(found.rows) + lost == 30, (seed, rows)


def test_only_the_columns_wanted_are_kept(tmp_path):
    (tmp_path / "a.csv").write_text("id,b,c\n1,2,3\n4,5\n")
    found = read_text_table(tmp_path / "a.csv", {"c", "id"})
    assert (found.names, found.rows, found.lines) == (["id", "c"], [["1", "3"], ["4", ""]], [2, 3])


def test_a_quote_is_followed_no_further_than_a_cell_may_be_long(tmp_path, monkeypatch):
    path = tmp_path / "long.csv"
    path.write_text(
        "id,label\n" + 'a,5" from a star\n' + "".join(f"g{i},spiral\n" for i in range(6_000)) + 'b,"closed\n'
    )
    monkeypatch.setattr(text_tables, "_LONGEST", 5_000)
    found = read_text_table(path)
    assert (
        len(found.rows) == 6_000
        and found.lost == [found.notes[-1]]
        and found.lost[0].startswith("2 lines have a quote")
    )


def test_a_row_of_dashes_below_rows_that_may_be_data_is_one_of_them(tmp_path):
    (tmp_path / "a.csv").write_text("id,label\ng0,spiral\n---,---\ng1,smooth\n")
    assert read_text_table(tmp_path / "a.csv").rows == [["g0", "spiral"], ["---", "---"], ["g1", "smooth"]]
    (tmp_path / "b.csv").write_text("number,x\n1,\n---,---\n2,\n")
    assert len(read_text_table(tmp_path / "b.csv").rows) == 3


@pytest.mark.parametrize(
    ("row", "are_units"),
    [(["g000", "lens", ""], False), (["g000", "ring", ""], False), (["g000", "ring", "deg"], False),
     (["M31", "lens", ""], False),
     (["", "lens", ""], False), (["Andromeda", "ring", ""], False), (["S1", "ring", "d"], False),
     (["", "", "mag"], True), (["", "", "km/s"], True), (["unit", "", "deg"], True), (["A4", "A6", ""], True),
     (["", "", ""], True), (["--", "", "arcsec"], True)],
)  # fmt: skip
def test_a_row_above_dashes_is_of_units_where_it_is_none_of_those_below(tmp_path, row, are_units):
    below = [[f"g{i:03d}", "lens" if i % 2 else "spiral", f"x{i}y"] for i in range(1, 9)]
    rows = [["id", "class", "size"], row, ["---"] * 3, *below, row if are_units and any(row) else below[0]]
    (tmp_path / "a.csv").write_text("\n".join(map(",".join, rows)))
    found = read_text_table(tmp_path / "a.csv")
    assert found.rows == ([*below, *[below[0]] * (not any(row))] if are_units else [row, ["---"] * 3, *below, below[0]])
    assert len(found.notes) == (are_units and any(row)) and bool(found.units) == (are_units and any(row))
