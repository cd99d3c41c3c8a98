"""Contact sheets: many cutouts on one image for a screen, as previews show them.

Belongs here: arranging and lettering cutouts in pixels. Does not belong here: choosing them, changing their stretch, or
plates for print (`plates`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

_TILE = 96
_GAP = 4
_CAPTION = 16
_LETTERS = 11
_SMALLEST_LETTERS = 8
_ROWS_PER_BLOCK = 10
_MARK = "#A8E0B0"


@dataclass(frozen=True)
class _Row:
    """Cutouts side by side, with a caption for each or none, and the row's title at the left."""

    pixels: Sequence[np.ndarray]
    captions: Sequence[str] | None = None
    title: str = ""
    marked: bool = False


def contact_sheet(
    pixels: Sequence[np.ndarray], captions: Sequence[str] | None, columns: int, tile: int = _TILE
) -> "Image":
    """Cutouts row by row in the order given, each with its caption in a box below it.

    Parameters
    ----------
    pixels : sequence of numpy.ndarray
        uint8 (H, W), (H, W, 1) or (H, W, 3); sizes may differ, their aspect is kept.
    captions : sequence of str or None
        One per cutout, or None for none. Long ones are set smaller, then cut short.
    columns : int
        Cutouts per row.
    tile : int
        Side of a drawn cutout, pixels.

    Returns
    -------
    PIL.Image.Image
        RGB; without cutouts, one that says so.

    Raises
    ------
    ValueError
        For other arrays, or for another number of captions than of cutouts.
    """
    if captions is not None and len(captions) != len(pixels):
        raise ValueError(f"{len(captions)} captions for {len(pixels)} cutouts")
    starts = range(0, len(pixels), columns)
    rows = [_Row(pixels[i : i + columns], captions and captions[i : i + columns]) for i in starts]
    return _sheet(rows, tile)


def cluster_gallery(clusters: Mapping[int, Sequence[np.ndarray]], titles: Mapping[int, str]) -> "Image":
    """One row of example cutouts per cluster, its title at the left (paper Figures 4-6).

    Parameters
    ----------
    clusters : mapping of int to sequence of numpy.ndarray
        Cluster -> cutouts as `contact_sheet` takes them, in the order of the rows. A cluster without any keeps its row,
        which says so.
    titles : mapping of int to str
        Cluster -> title.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    return _blocks([_Row(pixels, title=titles[k]) for k, pixels in clusters.items()])


def comparison(ways: Sequence[tuple[str, Sequence[np.ndarray], bool]]) -> "Image":
    """The same galaxies in several ways, a row for each way: its title at the left, on green where it is marked.

    Parameters
    ----------
    ways : sequence of (str, sequence of numpy.ndarray, bool)
        Title, cutouts as `contact_sheet` takes them, and whether the row is marked.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    return _sheet([_Row(pixels, title=title, marked=marked) for title, pixels, marked in ways], _TILE)


def _blocks(rows: Sequence[_Row]) -> "Image":
    """Titled rows as one sheet; more than ten stand in two blocks side by side, so that the sheet fits a page."""
    from PIL import Image

    if len(rows) <= _ROWS_PER_BLOCK:
        return _sheet(rows, _TILE)
    half = (len(rows) + 1) // 2
    left, right = _sheet(rows[:half], _TILE), _sheet(rows[half:], _TILE)
    page = Image.new("RGB", (left.width + _TILE // 4 + right.width, max(left.height, right.height)), "white")
    page.paste(left, (0, 0))
    page.paste(right, (left.width + _TILE // 4, 0))
    return page


def _sheet(rows: Sequence[_Row], tile: int) -> "Image":
    from PIL import Image, ImageDraw

    font = _font(_LETTERS)
    margin = max((round(font.getlength(row.title)) + 2 * _GAP for row in rows if row.title), default=0)
    columns = max((len(row.pixels) for row in rows), default=0)
    pitch_x = tile + _GAP
    pitch_y = tile + _GAP + (_CAPTION if any(row.captions for row in rows) else 0)
    if not rows or not (columns or margin):
        return _words_only("no images", tile)
    sheet = Image.new("RGB", (margin + max(columns, 1) * pitch_x + _GAP, len(rows) * pitch_y + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for r, row in enumerate(rows):
        top = _GAP + r * pitch_y
        if row.marked:
            draw.rectangle((0, top - _GAP // 2, sheet.width, top + tile + _GAP // 2 - 1), fill=_MARK)
        if row.title:
            draw.text((_GAP, top + tile / 2), row.title, fill="black", font=font, anchor="lm")
        if not row.pixels:
            draw.text((margin + _GAP, top + tile / 2), "no images", fill="#555555", font=font, anchor="lm")
        for c, pixels in enumerate(row.pixels):
            left = margin + _GAP + c * pitch_x
            sheet.paste(_cutout(pixels, tile), (left, top))
            if row.captions:
                _caption(draw, row.captions[c], left, top + tile, tile)
    return sheet


def _cutout(pixels: np.ndarray, tile: int) -> "Image":
    from PIL import Image, ImageOps

    pixels = np.asarray(pixels)
    grey = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 1)
    if pixels.dtype != np.uint8 or not pixels.size or not (grey or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(f"a cutout is uint8 (H, W), (H, W, 1) or (H, W, 3), got {pixels.dtype} {pixels.shape}")
    image = Image.fromarray(np.ascontiguousarray(pixels.reshape(pixels.shape[:2]) if grey else pixels))
    return ImageOps.pad(image.convert("RGB"), (tile, tile), Image.Resampling.LANCZOS, color="white")


def _caption(draw: "ImageDraw", text: str, left: int, top: int, width: int) -> None:
    room = width - 4
    fonts = [_font(size) for size in range(_LETTERS, _SMALLEST_LETTERS - 1, -1)]
    font = next((f for f in fonts if f.getlength(text) <= room), fonts[-1])
    if font.getlength(text) > room:
        while text and font.getlength(text + "...") > room:
            text = text[:-1]
        text += "..."
    draw.rectangle((left, top, left + width - 1, top + _CAPTION - 2), fill="#EEF0F2", outline="#B8BDC4")
    draw.text((left + width / 2, top + (_CAPTION - 1) / 2), text, fill="black", font=font, anchor="mm")


def _words_only(text: str, tile: int) -> "Image":
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (2 * tile, tile), "white")
    ImageDraw.Draw(image).text((tile, tile / 2), text, fill="#555555", font=_font(_LETTERS), anchor="mm")
    return image


def _font(size: int) -> "FreeTypeFont | ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(size)
