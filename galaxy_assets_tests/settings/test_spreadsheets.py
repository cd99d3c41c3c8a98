"""Texts in CSVs: no formula goes out, every text comes back."""

import csv
import io
import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv

import galaxy_assets
from galaxy_assets.settings.spreadsheets import for_spreadsheets, read, written

FORMULAS = ["=HYPERLINK(1)", '=cmd|" /C calc"', "+1", "-12.5", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "="]
TEXTS = st.one_of(st.text(), st.text("'\"=+-@ \t\ra", max_size=6))


@pytest.mark.parametrize("text", FORMULAS)
def test_what_would_be_a_formula_begins_with_an_apostrophe(text):
    assert written(text).startswith("'") and read(written(text)) == text


@given(TEXTS)
def test_every_text_comes_back_and_none_is_a_formula(text):
    assert read(written(text)) == text
    assert written(text)[:1] not in tuple("=+-@\t\r\n")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_of_a_table_are_quoted_and_numbers_stay_numbers(kind):
    ids = ["=a()", None, "J1", "'x", "=a()"]
    table = pa.table({"id": pa.array(ids).cast(kind), "dec": [-1.5, None, 2.0, 0.0, 1.0], "=n": [-1, -2, 3, 4, 5]})
    sheet = io.BytesIO()
    arrow_csv.write_csv(for_spreadsheets(table), sheet)
    rows = list(csv.reader(io.StringIO(sheet.getvalue().decode())))
    assert rows[0] == ["id", "dec", "'=n"]
    assert [row[0] for row in rows[1:]] == ["'=a()", "", "J1", "'x", "'=a()"]
    assert [row[1:] for row in rows[1:3]] == [["-1.5", "-1"], ["", "-2"]]
    assert for_spreadsheets(table.slice(0, 0)).num_rows == 0


def test_every_csv_with_texts_of_strangers_is_written_so():
    for path in sorted(Path(galaxy_assets.__file__).parent.rglob("*.py")):
        for call in re.findall(r"write_csv\(.{40}", path.read_text(encoding="utf-8").replace("\n", " ")):
            if "write_csv(str(" not in call:  # DuckDB's, of a table that was made so
                assert re.match(r"write_csv\( *(for_spreadsheets|regions_to_table)\(", call), (path, call)
