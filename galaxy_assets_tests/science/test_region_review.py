"""A review of the artefact regions is taken as it was meant, or refused with the file, the line and the remedy."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv

from galaxy_assets.science.artefact_regions import Region, regions_to_table
from galaxy_assets.science.region_review import read_review

MAP = "0012345e67890123"
HEADER = "region,x0,y0,x1,y1,n,n_suspect,purity,reasons,status,map\n"
LINE = f'1,-1.5,0,2,3,9,8,0.9,"blank 5, trail 3",accepted,{MAP}\n'
BOX = (-1.5, 0.0, 2.0, 3.0)


def written(tmp_path, text: str | bytes):
    path = tmp_path / "tiny_artefacts.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def edges(region: Region) -> tuple[float, ...]:
    return region.x0, region.y0, region.x1, region.y1


def test_accepted_boxes_count_and_a_digest_of_digits_stays_as_it_is(tmp_path):
    text = HEADER + LINE + LINE.replace("accepted", "rejected") + "\n" + LINE.replace("accepted", "proposed") + LINE
    found = read_review(written(tmp_path, text), MAP)
    assert [(r.region, r.status, edges(r)) for r in found] == [(i, "accepted", BOX) for i in (1, 2)]
    few = f"map,status,y1,x1,y0,x0\n{MAP},accepted,3,2,0,-1.5\n"
    assert [edges(r) for r in read_review(written(tmp_path, "\ufeff" + few.replace("\n", "\r\n")), MAP)] == [BOX]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (LINE.replace('"', ""), "line 3: 12 cells under 11 columns; put quotes"),
        (LINE.replace("\n", ",\n"), "line 3: 12 cells under 11 columns; .*remove commas at the end"),
        (LINE.replace(",-1.5,", ","), "line 3: one cell for each of the 11 columns"),
        (LINE.replace("-1.5", ""), "line 3: x0 is ''; write a finite number"),
        (LINE.replace("-1.5", "nan"), "line 3: x0 is 'nan'; write a finite number"),
        (LINE.replace("-1.5", "-inf"), "line 3: x0 is '-inf'; write a finite number"),
        (LINE.replace("-1.5", '"-1,5"'), "line 3: x0 is '-1,5'; write a finite number with a point"),
        (LINE.replace("-1.5", "2.5"), "line 3: x0, 2.5, lies beyond x1, 2"),
        (LINE.replace(",0,2,3,", ",4,2,3,"), "line 3: y0, 4, lies beyond y1, 3"),
        (LINE.replace("accepted", "Accepted"), "line 3: unknown status 'Accepted'; write proposed, accepted, rejected"),
        (LINE.replace(MAP, ""), f"line 3: its box is drawn on map none, the artefact_map is now {MAP}"),
        (LINE.replace(MAP, "12345e67890123"), "line 3: its box is drawn on map 12345e67890123"),
        (LINE.replace("trail 3", "trail\n3"), "line 4: one cell for each .* close every quote"),
        (LINE.replace(' 3"', " 3"), "not a CSV in UTF-8 .*save it as one"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_the_remedy(tmp_path, line, message):
    with pytest.raises(ValueError, match=rf"tiny_artefacts.csv.*{message}"):
        read_review(written(tmp_path, HEADER + LINE + line), MAP)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column map, status, x0, x1, y0, y1; it has none. Start from the table artefact_regions"),
        (HEADER.replace(",", ";"), "no column map.*it has region;x0"),
        (HEADER.replace("y0", "x0"), "two columns are called 'x0'"),
        ((HEADER + LINE.replace("trail", "traîné")).encode("latin-1"), "not a CSV in UTF-8 .*save it as one"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_remedy(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"tiny_artefacts.csv: {message}"):
        read_review(written(tmp_path, text), MAP)


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(
    boxes=st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=4),
    reasons=st.text("ab,\" '=-", max_size=8),
    digits=st.text("0123456789e", min_size=16, max_size=16),
    comma=st.integers(0, 400),
)
def test_what_was_saved_comes_back_and_a_comma_too_many_moves_no_box(tmp_path_factory, boxes, reasons, digits, comma):
    regions = [
        Region(i, min(a, c), min(b, d), max(a, c), max(b, d), 1, 1, 1.0, reasons, "accepted")
        for i, (a, b, c, d) in enumerate(boxes, 1)
    ]
    data = pa.BufferOutputStream()
    csv.write_csv(regions_to_table(regions, digits), data)
    text = data.getvalue().to_pybytes().decode()
    path = written(tmp_path_factory.mktemp("review"), text)
    assert [edges(r) for r in read_review(path, digits)] == [edges(r) for r in regions]
    at = text.index("\n") + 1 + comma
    path.write_text(text[:at] + "," + text[at:])
    try:
        found = read_review(path, digits)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert [edges(r) for r in found] == [edges(r) for r in regions]
