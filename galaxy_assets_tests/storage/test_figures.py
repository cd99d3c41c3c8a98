"""Files of figures are whole, and of the right size: galaxy_assets.storage.figures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from galaxy_assets.figures.curves import variance
from galaxy_assets.figures.galleries import contact_sheet
from galaxy_assets.storage.figures import save, save_for_print


def noise(n: int, side: int = 64) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8))


def test_figure_is_saved_as_png_of_its_size_at_200_dpi(tmp_path: Path):
    figure = variance(np.array([0.7, 0.2, 0.06]), 3)
    path = save(figure, tmp_path / "new" / "variance.png")
    assert [p.name for p in path.parent.iterdir()] == ["variance.png"]
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == tuple(np.round(figure.get_size_inches() * 200).astype(int))


def test_sheet_is_saved_pixel_for_pixel(tmp_path: Path):
    sheet = contact_sheet(noise(3), None, columns=2)
    with Image.open(save(sheet, tmp_path / "sheet.png")) as image:
        assert np.array_equal(np.asarray(image), np.asarray(sheet))
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)


def test_failed_drawing_leaves_the_old_file(tmp_path: Path):
    path = save(contact_sheet(noise(1), None, columns=1), tmp_path / "figure.png")
    before = path.read_bytes()
    broken = variance(np.array([1.0]), 1)
    broken.axes[0].set_xlabel("$\\nosuchmacro$")
    with pytest.raises(ValueError, match="nosuchmacro"):
        save(broken, path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [before]


def test_the_same_figure_gives_the_same_print(tmp_path: Path):
    first, second = (save_for_print(variance(np.array([0.9]), 1), tmp_path / f"{i}.pdf") for i in (1, 2))
    assert first.read_bytes() == second.read_bytes()
