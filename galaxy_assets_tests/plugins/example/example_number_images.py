"""A reader of images written as numbers in text files, and a cutter about the brightest pixel.

<path>/<batch>/<galaxy>.txt   a row of pixels per line, values separated by `source.options["separator"]`
"""

import hashlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from galaxy_assets.deliveries.delivery import Delivery, of_files
from galaxy_assets.deliveries.images import UnreadableImage, inside, read_file
from galaxy_assets.deliveries.readers.catalogue import CATALOGUE_SCHEMA, distinct_ids
from galaxy_assets.science.cutouts import Cutout
from galaxy_assets.science.cutouts.rendering import interval, render
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source


class NumberImages:
    """See the module and `galaxy_assets.plugins.protocols.Reader`."""

    def __init__(self, source: Source, path: Path):
        self.separator, self.path = source.options.get("separator"), path
        if not path.is_dir():
            raise SurveyError(f"{path}: no such folder; put a folder of *.txt per delivery there")

    def deliveries(self, quiet: float = 0) -> list[Delivery]:
        folders = sorted(path for path in self.path.iterdir() if any(path.glob("*.txt")))
        return [self._delivery(folder, quiet) for folder in folders]

    def _delivery(self, folder: Path, quiet: float) -> Delivery:
        files = sorted(folder.glob("*.txt"))
        return replace(of_files(folder.name, "folder", files, quiet, lambda: len(files)), path=folder.name)

    def batches(self) -> list[str]:
        whole = [one.name for one in self.deliveries() if one.state == "whole"]
        if not whole:
            raise SurveyError(f"{self.path}: no delivery there; put a folder of *.txt there")
        return whole

    def catalogue(self, batch: str, taken: Collection[str] = ()) -> pa.Table:
        if batch not in self.batches():
            raise SurveyError(f"{self.path}: no delivery {batch!r}; there are {', '.join(self.batches())}")
        files = sorted((self.path / batch).glob("*.txt"))
        ids = distinct_ids([file.stem for file in files], taken)
        rows = [self._row(batch, galaxy, file) for galaxy, file in zip(ids, files, strict=True)]
        return pa.Table.from_pylist(sorted(rows, key=lambda row: row["galaxy_id"]), schema=CATALOGUE_SCHEMA)

    def _row(self, batch: str, galaxy: str, path: Path) -> dict:
        row = {"galaxy_id": galaxy, "batch": batch, "file": f"{batch}/{path.name}"}
        try:
            data = read_file(path)
            row["sha256"] = hashlib.sha256(data).hexdigest()
            row["height"], row["width"] = self._decode(data).shape
        except UnreadableImage as error:
            row |= {"problem": error.problem, "reason": error.reason}
        if galaxy != path.stem:
            row |= {"problem": "duplicate_id", "reason": f"another image is already called {path.stem}"}
        return row

    def image(self, file: str) -> np.ndarray:
        return self._decode(read_file(inside(self.path, file)))

    def _decode(self, data: bytes) -> np.ndarray:
        try:
            rows = [line.split(self.separator) for line in data.decode().splitlines()]
            return np.array(rows, dtype=np.float32)
        except ValueError as error:
            raise UnreadableImage(f"no table of numbers: {error}") from error

    def labelled(self) -> None:
        return None

    def tables(self) -> list[Path]:
        return []

    def votes(self) -> None:
        return None


def cut_about_the_brightest(image: np.ndarray, settings: CutoutSettings) -> Cutout:
    """A square of `settings.options["side"]` pixels about the brightest pixel of the first channel."""
    side = settings.options.get("side", 32)
    y, x = np.unravel_index(image[..., 0].argmax(), image.shape[:2])
    (x0, x1), (y0, y1) = interval(int(x) + 0.5, side, image.shape[1]), interval(int(y) + 0.5, side, image.shape[0])
    return Cutout(render(image, (x0, y0, x1, y1), settings), "brightest_pixel", (x0, y0, x1, y1))
