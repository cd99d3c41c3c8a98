"""Every cutout and letter is where it belongs on the printed plate: galaxy_assets.figures.plates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from galaxy_assets.figures.plates import (
    class_examples,
    fit,
    labelled_grid,
    neighbours,
    new_plate,
    put,
    query_history,
    rounds_drawn,
)
from galaxy_assets.figures.preview import preview
from galaxy_assets.figures.style import DOUBLE, SINGLE


def flat(value: int, side: int = 20) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


def tiles(figure) -> list[tuple[int, tuple[float, float, float, float]]]:
    """Grey value and box (left, top, right, bottom; inches) of every cutout, in the order drawn."""
    (axes,) = figure.axes
    found = []
    for image in axes.images:
        left, right, bottom, top = image.get_extent()
        found.append((int(image.get_array()[0, 0, 0]), (left, top, right, bottom)))
    return found


def assert_apart_and_inside(figure) -> None:
    boxes = [box for _, box in tiles(figure)]
    width, height = figure.get_size_inches()
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert -1e-9 <= left and right <= width + 1e-9 and -1e-9 <= top and bottom <= height + 1e-9
        for other in boxes[:i]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def letters(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@settings(max_examples=15, deadline=None)
@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_examples_of_classes_fit_two_columns_and_keep_apart(counts: list[int]):
    figure = class_examples({f"class_{i}": [flat(10 * i)] * n for i, n in enumerate(counts)})
    assert figure.get_size_inches()[0] <= DOUBLE + 1e-9
    assert_apart_and_inside(figure)
    assert sorted(v for v, _ in tiles(figure)) == sorted(10 * i for i, n in enumerate(counts) for _ in range(n))
    assert letters(figure) == [f"class {i}" for i in range(len(counts))]


def test_history_has_a_row_per_round_and_two_blocks_from_eleven():
    rounds = [0, 0, 1, 1, 2]
    figure = query_history([flat(5 + i) for i in range(5)], [0, 5, 3, 3, 1], rounds)
    tops = [box[1] for _, box in tiles(figure)]
    assert tops[0] == tops[1] < tops[2] == tops[3] < tops[4]
    assert letters(figure) == ["seeds", "0", "5", "query 1", "3", "3", "query 2", "1"]
    many = query_history([flat(i) for i in range(20)], [0] * 20, list(range(20)))
    boxes = [box for _, box in tiles(many)]
    assert boxes[0][1] == boxes[10][1] and boxes[10][0] > SINGLE
    assert_apart_and_inside(many)


@pytest.mark.parametrize(("n", "said"), [(100, ""), (102, "; queries 50 to 51 are not drawn")])
def test_of_more_than_a_hundred_rounds_the_first_and_last_fifty_are_drawn(n, said):
    figure = query_history([flat(i) for i in range(n)], [0] * n, list(range(n)))
    assert figure.get_label() == f"Galaxies shown to the oracle, query by query{said}"
    assert sorted(v for v, _ in tiles(figure)) == [*range(50), *range(n - 50, n)]
    assert rounds_drawn(range(5000))[0] == [*range(50), *range(4950, 5000)]
    assert preview(figure).startswith("![Galaxies shown")
    assert_apart_and_inside(figure)


@settings(max_examples=9, deadline=None)
@given(st.integers(0, 8))
def test_query_is_framed_and_in_the_middle_of_eight(k: int):
    figure = neighbours([flat(9 * i) for i in range(k + 1)], ["c"] * (k + 1), k // 2)
    assert_apart_and_inside(figure)
    (axes,) = figure.axes
    (frame,) = [patch for patch in axes.patches if not patch.get_fill()]
    left, top, right, bottom = tiles(figure)[k // 2][1]
    assert (frame.get_x(), frame.get_y()) == (left, top)
    if k == 8:
        assert (left + right) / 2 == pytest.approx(SINGLE / 2)


def test_long_labels_are_wrapped_and_the_grid_stays_in_its_column():
    figure = labelled_grid([flat(v) for v in range(12)], ["round elliptical", "spiral", "edge on"] * 4)
    assert len({box[1] for _, box in tiles(figure)}) == 3, "four in a row"
    assert letters(figure)[0] == "round\nelliptical"
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text, (_, box) in zip(figure.axes[0].texts, tiles(figure), strict=True):
        assert text.get_window_extent(renderer).x1 / figure.dpi <= box[2]


def test_letters_are_never_smaller_than_seven_points():
    figure = query_history([flat(1)], [3], [1])
    assert {text.get_fontsize() for text in figure.axes[0].findobj(Text) if text.get_text()} == {7}


def test_large_cutouts_are_reduced_to_what_is_printed_and_keep_their_brightness():
    _, axes = new_plate("p", 2, 2)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (600, 600, 1), np.uint8)
    put(axes, pixels, 0, 0, 0.5)
    drawn = np.asarray(axes.images[0].get_array())
    assert drawn.shape == (150, 150, 3)
    assert drawn.mean() == pytest.approx(pixels.mean(), abs=1)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_other_arrays_are_refused(pixels: np.ndarray):
    with pytest.raises(ValueError, match="a cutout is uint8"):
        put(new_plate("p", 1, 1)[1], pixels, 0, 0, 1)


@given(st.text(max_size=80), st.floats(0.1, 4))
def test_fitted_text_is_short_and_starts_alike(text: str, width: float):
    shown = fit(text, width)
    assert len(shown.replace("\\$", "$")) <= max(int(width / 0.052), 4)
