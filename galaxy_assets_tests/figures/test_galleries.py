"""Every cutout is where it belongs on the sheet: galaxy_assets.figures.galleries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from galaxy_assets.figures.galleries import cluster_gallery, comparison, contact_sheet

TILE, GAP, CAPTION = 96, 4, 16


def flat(value: int, shape: tuple[int, ...] = (40, 40, 3)) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def tile_at(sheet: Image.Image, row: int, column: int, *, left: int = 0, captions: bool = False) -> np.ndarray:
    """Centre of the tile in that place, RGB."""
    x = left + GAP + column * (TILE + GAP) + TILE // 2
    y = GAP + row * (TILE + GAP + CAPTION * captions) + TILE // 2
    return np.asarray(sheet)[y, x]


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 30), columns=st.integers(1, 9), captions=st.booleans())
def test_cutouts_lie_row_by_row_in_order(n: int, columns: int, captions: bool):
    values = [5 + 8 * i for i in range(n)]
    sheet = contact_sheet([flat(v) for v in values], ["q"] * n if captions else None, columns)
    rows = -(-n // columns)
    assert sheet.size == (
        GAP + min(n, columns) * (TILE + GAP),
        GAP + rows * (TILE + GAP + CAPTION * captions),
    )
    for i, value in enumerate(values):
        assert tile_at(sheet, i // columns, i % columns, captions=captions).tolist() == [value] * 3


@pytest.mark.parametrize("shape", [(40, 40), (40, 40, 1), (40, 40, 3), (1, 1), (300, 300, 1)])
def test_grey_and_colour_are_drawn_alike(shape: tuple[int, ...]):
    assert tile_at(contact_sheet([flat(130, shape)], None, 1), 0, 0).tolist() == [130] * 3


def test_colours_keep_their_channels_and_long_images_their_aspect():
    red = np.zeros((20, 80, 3), np.uint8)
    red[..., 0] = 200
    sheet = np.asarray(contact_sheet([red], None, 1))
    assert (sheet == [200, 0, 0]).all(axis=2).sum() == TILE * TILE // 4


def test_image_is_drawn_upright():
    bright_top_left = np.zeros((32, 32), np.uint8)
    bright_top_left[:16, :16] = 255
    tile = np.asarray(contact_sheet([bright_top_left], None, 1))[GAP : GAP + TILE, GAP : GAP + TILE, 0]
    assert tile[:40, :40].min() > 200 and tile[56:].max() < 50 and tile[:, 56:].max() < 50


def test_captions_differ_and_stay_inside_their_box():
    tiles = [flat(0), flat(0)]
    short, other = (np.asarray(contact_sheet(tiles, [c, c], 2)) for c in ("spiral", "edge_on"))
    assert not np.array_equal(short, other)
    long = np.asarray(contact_sheet(tiles, ["J004544.11-005037.5 and much more", ""], 2))
    right = slice(GAP + TILE, GAP + TILE + GAP)
    assert (long[:, right] == 255).all(), "the caption runs out of its box"
    box = long[GAP + TILE + 2 : GAP + TILE + CAPTION - 4, GAP + 2 : GAP + TILE - 2]
    assert (box < 100).any(), "no letters in the caption's box"


def test_no_cutouts_give_words():
    for sheet in (
        contact_sheet([], None, 8),
        contact_sheet([], [], 8),
        cluster_gallery({}, {}),
    ):
        assert len(sheet.getcolors()) > 2


@pytest.mark.parametrize("pixels", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_other_arrays_are_refused(pixels: np.ndarray):
    with pytest.raises(ValueError, match="a cutout is uint8"):
        contact_sheet([pixels], None, 1)


def test_captions_must_match():
    with pytest.raises(ValueError, match="1 captions for 2 cutouts"):
        contact_sheet([flat(0), flat(0)], ["one"], 2)


def row_values(sheet: Image.Image, y: int) -> list[int]:
    """Grey values of the cutouts met along one line of pixels; values below 200 are cutouts."""
    line = np.asarray(sheet)[y, :, 0]
    return [int(v) for i, v in enumerate(line) if v < 200 and (i == 0 or line[i - 1] != v)]


def test_gallery_has_a_row_per_cluster():
    sheet = cluster_gallery({7: [flat(10), flat(60)], 2: [flat(110)], 3: []}, {7: "seven", 2: "two", 3: "three"})
    # above the letters, which stand at half height
    lines = [GAP + r * (TILE + GAP) + 10 for r in range(3)]
    assert [row_values(sheet, y) for y in lines] == [[10, 60], [110], []]


def test_a_comparison_has_a_row_for_each_way_and_marks_one():
    ways = [("a", [flat(10)] * 3, False), ("b", [flat(200)] * 3, True)]
    sheet = comparison(ways)
    assert sheet.height == GAP + 2 * (TILE + GAP)
    left = sheet.width - 3 * (TILE + GAP) - GAP
    for column in range(3):
        assert [tile_at(sheet, row, column, left=left)[0] for row in (0, 1)] == [10, 200]
    drawn = np.asarray(sheet)[:, -1]
    marked = (drawn != 255).any(axis=1)
    assert not marked[: TILE + GAP - 2].any() and marked[TILE + GAP + 4 : 2 * (TILE + GAP) - 4].all()
