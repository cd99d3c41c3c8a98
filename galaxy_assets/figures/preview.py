"""Figures as previews small enough for an event log.

Belongs here: encoding what is already drawn. Does not belong here: drawing, and files (`storage.figures`).
"""

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

_PREVIEW_DPI = 160
_PREVIEW_WIDTH = 900  # pixels, at most
_LONGEST = 16_000  # pixels a side, at most: a JPEG has 65,500
_SMALLEST = 16  # pixels: a preview below this shows nothing


def preview(figure: "Figure | Image", limit: int = 48_000) -> str:
    """A figure or image as Markdown with the picture inside, for metadata that a browser shows.

    Charts become a PNG of 64 colours, what holds cutouts a JPEG; either is made smaller until the whole string has
    at most `limit` characters, because the event log keeps several copies of it.

    Parameters
    ----------
    figure : Figure or Image
        Of matplotlib or Pillow.
    limit : int
        Characters.

    Returns
    -------
    str
        Markdown.

    Raises
    ------
    ValueError
        Where no preview of at least 16 pixels a side fits.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.figures.galleries import contact_sheet
    >>> text = preview(contact_sheet([np.zeros((64, 64), np.uint8)] * 3, ["a", "b", "c"], columns=3))
    >>> text.startswith("!["), len(text) < 48_000
    (True, True)
    """
    from PIL import Image

    alt = "contact sheet" if isinstance(figure, Image.Image) else figure.get_label() or "figure"
    photographs = isinstance(figure, Image.Image) or any(axes.images for axes in figure.axes)
    scale = 1.0
    while True:
        image = _scaled(figure, scale)
        if min(image.size) < _SMALLEST:
            raise ValueError(f"no preview of {alt!r} fits into {limit} characters")
        encoded = io.BytesIO()
        if photographs:
            kind = "jpeg"
            image.save(encoded, format="JPEG", quality=70, optimize=True)
        else:
            kind = "png"
            # a median cut gives the colours to what fills the area: the few high scores would change hue
            image.quantize(64, method=Image.Quantize.MAXCOVERAGE).save(encoded, format="PNG", optimize=True)
        text = f"![{alt}](data:image/{kind};base64,{base64.b64encode(encoded.getvalue()).decode()})"
        if len(text) <= limit:
            return text
        # careful steps: file size falls slower than area for photographs and faster for scattered points
        scale *= min(max((limit / len(text)) ** 0.5, 0.7), 0.95)


def _scaled(figure: "Figure | Image", scale: float) -> "Image":
    """The picture in RGB. A figure is drawn anew, for resampling would blur its lines and swell the file."""
    from PIL import Image

    if isinstance(figure, Image.Image):
        scale *= min(1.0, _LONGEST / max(figure.size))
        size = (max(round(figure.width * scale), 1), max(round(figure.height * scale), 1))
        return figure.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    drawn = io.BytesIO()
    width, height = figure.get_size_inches()
    dpi = min(_PREVIEW_DPI, _PREVIEW_WIDTH / width, _LONGEST / height)
    figure.savefig(drawn, format="png", dpi=dpi * scale)
    return Image.open(drawn).convert("RGB")
