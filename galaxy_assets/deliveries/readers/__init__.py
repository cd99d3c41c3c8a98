"""Readers of what surveys deliver, in the official layouts as they are, and how the one of a survey is opened.

What all readers promise is `plugins.protocols.Reader`. A survey's `source.reader` is a name registered in the group
`galaxy_assets.readers`; ours are registered like those of any other package.

Belongs here: one module per layout, and below how a reader is found and opened. Does not belong here: cutting, cleaning
or changing pixels (`science`), vote rules (`science.votes`), and writing anything but a simulated delivery.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from galaxy_assets import plugins
from galaxy_assets.deliveries.images import UnreadableImage, decode, read_file
from galaxy_assets.deliveries.readers.promises import guarded, survey_error_otherwise
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source
from galaxy_assets.storage.files import told_of
from galaxy_assets.storage.layout import Layout

if TYPE_CHECKING:
    from galaxy_assets.plugins.protocols import Reader


def open_reader(source: Source, raw: Path) -> "Reader":
    """Open the reader of a survey's deliveries, for a run.

    A survey at an address is copied first (`mirror`). One whose reader makes its deliveries itself, as that of the
    simulated surveys does, is made if it is absent. It is then read like any other.

    Parameters
    ----------
    source : Source
        Its `path` is relative to `raw` or absolute.
    raw : Path
        The folder data/raw.

    Returns
    -------
    Reader

    Raises
    ------
    SurveyError
        If nothing is where it should be, or the reader is a plug-in that cannot be loaded.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from PIL import Image
    >>> raw = Path(tempfile.mkdtemp())
    >>> (raw / "mine").mkdir()
    >>> Image.fromarray(np.zeros((40, 40), np.uint8)).save(raw / "mine" / "galaxy_1.png")
    >>> reader = open_reader(Source(reader="image_folder", path="mine"), raw)
    >>> reader.batches()
    ['images']
    >>> reader.catalogue("images")["galaxy_id"].to_pylist()
    ['galaxy_1']
    """
    path, registered = _folder(source, raw), _registered(source)
    if source.is_elsewhere:
        from galaxy_assets.deliveries.mirror import mirror

        mirror(source.path, path)
    elif (make := getattr(registered, "make", None)) is not None:
        with survey_error_otherwise(str(path)), told_of(path):
            make(source, path)
    return _opened(registered, source, path, raw)


def reader_in_place(source: Source, raw: Path) -> "Reader":
    """Open the reader of what is there already: as `open_reader`, but nothing is made or copied for it.

    Parameters
    ----------
    source : Source
        Its `path` is relative to `raw` or absolute.
    raw : Path
        The folder data/raw.

    Returns
    -------
    Reader

    Raises
    ------
    SurveyError
        As `open_reader`.
    """
    return _opened(_registered(source), source, _folder(source, raw), raw)


def made_by_first_run(source: Source, raw: Path) -> bool:
    """Whether a survey's deliveries are absent because its reader makes them itself when it is first run.

    Parameters
    ----------
    source : Source
        Of the survey.
    raw : Path
        The folder data/raw.

    Returns
    -------
    bool

    Raises
    ------
    SurveyError
        If the reader is a plug-in that cannot be loaded.
    """
    makes = not source.is_elsewhere and hasattr(_registered(source), "make")
    return makes and not _folder(source, raw).exists()


def _registered(source: Source) -> Any:
    """What is registered under the reader's name. Raises SurveyError with the reason where it cannot be loaded."""
    try:
        return plugins.load("readers", source.reader)
    except plugins.PluginError as error:
        raise SurveyError(str(error)) from error


def _opened(registered: Any, source: Source, path: Path, raw: Path) -> "Reader":
    with survey_error_otherwise(str(path)):
        reader = guarded(registered(source, path), str(path))
    if (spool_in := getattr(reader, "spool_in", None)) is not None:
        spool_in(Layout(raw.parent).spools)
    return reader


def _folder(source: Source, raw: Path) -> Path:
    if source.is_elsewhere and source.mirror is None:
        raise SurveyError(f"{source.path} is copied to a folder of {raw}; name it in `source.mirror`")
    return source.folder(raw)


def decode_file(path: Path, source: Source | None = None) -> np.ndarray:
    """Decode a person's own image file, as the readers decode a survey's (`Reader.image`); its content says the format.

    Parameters
    ----------
    path : Path
        The file.
    source : Source, optional
        Of a survey: which bands and which FITS extension are the image.

    Returns
    -------
    numpy.ndarray of shape (H, W) or (H, W, 3)
        uint8, or floats for more than 8 bits.

    Raises
    ------
    UnreadableImage
        Names the file and the reason.
    """
    try:
        return decode(read_file(path), source)
    except UnreadableImage as error:
        raise UnreadableImage(f"{path}: {error.reason}", error.problem) from error
