"""Pictures for the page: cutouts from the pixel store, and original frames as they were delivered.

Belongs here: from a galaxy id to bytes of an image. Does not belong here: cutting (`science.cutouts`), serving
(`routes`).
"""

import hashlib
import io
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.plugins.protocols import Reader
from galaxy_assets.science.galaxy_ids import places
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixel_stack import PixelStack
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.tables import read_table
from galaxy_assets.storage.versions import stamp

SIDES = (64, 96, 128, 192, 256, 320, 512)
"""Sides of the pictures that are made, pixels: a browser asks for these, so that it can keep them."""
_FRAME = 1024  # longest side of a shown original


class Pictures:
    """The cutouts of one survey, by the row of its ledger (`rows`), memory-mapped.

    Parameters
    ----------
    layout : Layout
        The data folder.
    survey : Survey

    Raises
    ------
    FileNotFoundError
        Where there are no cutouts.
    """

    def __init__(self, layout: Layout, survey: Survey):
        self.survey = survey
        self._layout = layout
        files = _ledgers(layout, survey.name)
        self._made = stamp(files)
        if not files:
            raise FileNotFoundError(f"{survey.name} has no cutouts yet: `galaxy-assets run {survey.name}`")
        parts = [read_table(file, ["batch", "pixels"]) for file in files]
        filled = [(part["batch"][0].as_py(), part["pixels"][0].as_py()) for part in parts if part.num_rows]
        store = PixelStore(layout.pixels(survey.name))
        store.check(dict(filled))
        self._stack: PixelStack = store.stack([batch for batch, _ in filled])
        self._files = files
        self.version = hashlib.sha256(repr(filled).encode()).hexdigest()[:12]
        self._reader: Reader | None = None
        self._decoding = threading.Lock()

    def __len__(self) -> int:
        return len(self._stack)

    def stale(self) -> bool:
        """Whether the cutouts were made anew since.

        Returns
        -------
        bool
        """
        return self._made != stamp(_ledgers(self._layout, self.survey.name))

    def rows(self, ids: pa.Array) -> np.ndarray:
        """Rows of the ledger, and so of the pixels, of galaxies.

        Parameters
        ----------
        ids : pyarrow.Array of length N

        Returns
        -------
        ndarray of shape (N,), int32
            -1 where there is none.
        """
        found = np.full(len(ids), -1, np.int32)
        start = 0
        for file in self._files:  # a batch at a time: a table of all ids would be held beside that of the map
            own = read_table(file, ["galaxy_id"])["galaxy_id"]
            at = places(own, ids)
            found[at >= 0] = start + at[at >= 0]
            start += len(own)
        return found

    def cutout(self, row: int, side: int) -> tuple[bytes, str]:
        """A cutout as an image file. It is never enlarged.

        Small ones are JPEG; from 192 pixels they are PNG, whose pixels are those of the store when not shrunk.

        Parameters
        ----------
        row : int
            Of the pixels.
        side : int
            Largest side, pixels.

        Returns
        -------
        content : bytes
        media_type : str
        """
        image = _image(self._stack[np.array([row])][0])
        if side < image.width:
            image = image.resize(
                (side, side), Image.Resampling.BOX if side * 2 <= image.width else Image.Resampling.LANCZOS
            )
        return _encoded(image, lossless=side >= 192)

    def frame(self, file: str) -> tuple[bytes, str]:
        """The original frame of a row of the catalogue as an image file, shrunk to 1024 pixels.

        Frames of more than 8 bits are stretched from their 1 % to their 99.5 % quantile.

        Parameters
        ----------
        file : str
            As the catalogue names it.

        Returns
        -------
        content : bytes
        media_type : str

        Raises
        ------
        UnreadableImage
            Where the file cannot be decoded.
        SurveyError
            Where the delivery is gone.
        """
        with self._decoding:  # one at a time: a frame may be 64 million pixels
            if self._reader is None:
                self._reader = open_reader(self.survey.source, self._layout.raw)
            pixels = self._reader.image(file)
            if pixels.dtype != np.uint8:
                low, high = np.nanquantile(pixels, [0.01, 0.995])
                scaled = (np.nan_to_num(pixels, nan=low) - low) * (255 / max(high - low, 1e-12))
                pixels = np.clip(scaled, 0, 255).astype(np.uint8)
            image = _image(pixels)
            image.thumbnail((_FRAME, _FRAME))
            return _encoded(image, lossless=False)

    def png(self, row: int) -> bytes:
        """A cutout as it is stored.

        Parameters
        ----------
        row : int
            Of the pixels.

        Returns
        -------
        bytes
            PNG.
        """
        return _encoded(_image(self._stack[np.array([row])][0]), lossless=True)[0]


def _ledgers(layout: Layout, survey: str) -> list[Path]:
    return sorted((layout.lake / survey / "cutouts").glob("[!.]*.parquet"))


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(
        np.ascontiguousarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    )


def _encoded(image: Image.Image, lossless: bool) -> tuple[bytes, str]:
    out = io.BytesIO()
    if lossless:
        image.save(out, "PNG", compress_level=1)
        return out.getvalue(), "image/png"
    image.save(out, "JPEG", quality=88)
    return out.getvalue(), "image/jpeg"
