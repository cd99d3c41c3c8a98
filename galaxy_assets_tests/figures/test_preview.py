"""Previews fit: galaxy_assets.figures.preview."""

import base64
import io
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from galaxy_assets.figures.curves import variance
from galaxy_assets.figures.galleries import contact_sheet
from galaxy_assets.figures.maps import anomaly_maps
from galaxy_assets.figures.preview import preview


def picture_in(markdown: str) -> Image.Image:
    data = re.fullmatch(r"!\[[^\]]+\]\(data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert data, markdown[:80]
    return Image.open(io.BytesIO(base64.b64decode(data[1])))


def noise(n: int, side: int = 64) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8))


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 40), columns=st.integers(1, 12), limit=st.integers(8_000, 60_000))
def test_preview_of_any_sheet_fits_and_keeps_its_shape(n: int, columns: int, limit: int):
    sheet = contact_sheet(noise(n), None, columns=columns)
    text = preview(sheet, limit)
    assert len(text) <= limit
    shown = picture_in(text)
    assert shown.width <= sheet.width
    # whole pixels: each side is within half a pixel of the same scale
    assert abs(shown.width * sheet.height - shown.height * sheet.width) <= sheet.width / 2 + sheet.height / 2 + 1


def test_preview_of_many_points_fits_and_keeps_rare_colours():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 20_000))
    score = np.exp(-((x - 1) ** 2 + (y - 1) ** 2) / 0.02)
    text = preview(anomaly_maps(x, y, score > 0.5, score))
    assert len(text) <= 48_000
    colours = np.asarray(picture_in(text).convert("RGB")).reshape(-1, 3).astype(int)
    best = np.array([253, 231, 55])  # the top of cividis
    assert np.abs(colours - best).max(axis=1).min() <= 20


def test_small_figure_is_previewed_at_full_size():
    assert picture_in(preview(variance(np.array([0.9, 0.08]), 2))).size == (528, 400)


def test_a_picture_taller_than_a_jpeg_can_be_is_made_smaller():
    tall = Image.new("RGB", (2400, 70_000))
    assert picture_in(preview(tall)).height <= 16_000
    figure = Figure(figsize=(7, 500))
    figure.add_axes((0, 0, 1, 1)).imshow(np.zeros((2, 2)))
    assert picture_in(preview(figure)).height <= 16_000


def test_impossible_limit_is_an_error():
    with pytest.raises(ValueError, match="fits into 200 characters"):
        preview(contact_sheet(noise(4), None, columns=2), limit=200)


def test_threads_draw_what_one_thread_draws():
    share = np.array([0.5, 0.3, 0.1, 0.05])
    alone = [preview(variance(share[:k], k)) for k in (1, 2, 3, 4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda k: preview(variance(share[:k], k)), (1, 2, 3, 4))) == alone
