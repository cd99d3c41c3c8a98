"""Figures as files: PNG for the screen, PDF for print.

Belongs here: writing what is already drawn. Does not belong here: drawing and previews (`figures`), where a figure lies
(`layout`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from galaxy_assets.storage.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

_DPI = 200
_PRINT_DPI = 300


def save(figure: "Figure | Image", path: Path) -> Path:
    """Write a figure as PNG at 200 dots per inch, whole or not at all.

    Parameters
    ----------
    figure : Figure or Image
        Of matplotlib or Pillow.
    path : Path
        File to write; its folder is made.

    Returns
    -------
    Path
        `path`.
    """
    from PIL import Image

    with replacing(path) as partial:
        if isinstance(figure, Image.Image):
            figure.save(partial, format="PNG", dpi=(_DPI, _DPI))
        else:
            figure.savefig(partial, format="png", dpi=_DPI)
    return path


def save_for_print(figure: "Figure", path: Path) -> Path:
    """Write a figure as PDF, whole or not at all. The same figure gives the same file.

    Lines and letters are vectors, in fonts that journals take (TrueType); points and cutouts are rasters of 300 dots
    per inch.

    Parameters
    ----------
    figure : Figure
        Of matplotlib.
    path : Path
        File to write; its folder is made.

    Returns
    -------
    Path
        `path`.
    """
    import matplotlib

    with replacing(path) as partial, matplotlib.rc_context({"pdf.fonttype": 42}):
        figure.savefig(partial, format="pdf", dpi=_PRINT_DPI, metadata={"CreationDate": None})
    return path
