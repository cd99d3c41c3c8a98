"""The top of a ranking as subjects of a Zooniverse project: images, and the manifest that goes with them.

Belongs here: the folder. Does not belong here: reading the classifications back (`deliveries.label_files`), other
exports (`export`).
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from galaxy_assets.deliveries.label_files import SUBJECT_SURVEY
from galaxy_assets.lake.export import Selected, about_export, select
from galaxy_assets.lake.similar import read_survey_table
from galaxy_assets.settings.spreadsheets import for_spreadsheets
from galaxy_assets.storage.files import new_folder
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.provenance import data_version
from galaxy_assets.storage.tables import rows_of

_LARGEST = 1_000_000  # bytes of an image, as Zooniverse asks for
_COLUMNS = ("galaxy_id", "rank", "score", "ra", "dec")
_HIDDEN = "#"  # a column that volunteers are not shown


def export_subjects(survey: str, folder: Path | str, first: int, *, root: Path | str | None = None) -> pa.Table:
    """Write the first galaxies of the ranking as a Zooniverse subject set to a new folder, whole or not at all.

    `manifest.csv` has a row for each image beside it. Its column `image` is all that a volunteer can see: a name
    that says neither rank nor id, by which the rows are ordered. The others begin with `#`, which hides them:
    galaxy_id, rank, score, ra, dec, the survey, and the data version of the ranking.

    Parameters
    ----------
    survey : str
        Its name.
    folder : Path or str
        Must be absent or empty; `~` is the home folder.
    first : int
        How many galaxies.
    root : Path or str, optional
        The data folder; $GALAXY_ASSETS_DATA, else ./data, when not given.

    Returns
    -------
    pyarrow.Table
        The manifest.

    Raises
    ------
    SurveyError
        For an unknown survey.
    FileExistsError
        For a folder with something in it.
    FileNotFoundError
        Where the survey was not run that far.
    """
    folder = Path(folder).expanduser()
    chosen = select("ranking", survey, first=first, root=root)
    about = about_export(chosen.layout, chosen.survey, chosen.sources, chosen.start)
    with new_folder(folder) as partial:
        manifest = _manifest(chosen, _write_images(chosen, partial))
        arrow_csv.write_csv(for_spreadsheets(manifest), partial / "manifest.csv")
        about |= {"what": "subjects", "rows": manifest.num_rows}
        (partial / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return manifest


def _manifest(chosen: Selected, images: list[str]) -> pa.Table:
    n, made = chosen.table.num_rows, data_version(chosen.layout.table(chosen.survey.name, "anomaly_ranking"))
    columns = {"image": pa.array(images, pa.string())}
    columns |= {_HIDDEN + name: chosen.table[name] for name in _COLUMNS}
    columns[_HIDDEN + SUBJECT_SURVEY] = pa.array([chosen.survey.name] * n, pa.string())
    columns[f"{_HIDDEN}ranking"] = pa.array([made] * n, pa.string())
    return pa.table(columns).sort_by("image")


def _write_images(chosen: Selected, folder: Path) -> list[str]:
    """Write each galaxy's image; return their names."""
    cutouts = read_survey_table(chosen.layout, chosen.survey, "cutouts/[!.]*")
    stack = PixelStore(chosen.layout.pixels(chosen.survey.name)).of(cutouts)
    names = []
    for galaxy, row in zip(chosen.table["galaxy_id"].to_pylist(), rows_of(cutouts, chosen.table), strict=True):
        suffix, content = _image(stack[np.array([row])][0])
        digest = hashlib.sha256(f"{chosen.survey.name}\n{galaxy}".encode()).hexdigest()[:16]
        names.append(f"subject_{digest}{suffix}")
        (folder / names[-1]).write_bytes(content)
    return names


def _image(pixels: np.ndarray) -> tuple[str, bytes]:
    """A cutout as PNG; as JPEG where that would be larger than Zooniverse takes."""
    from PIL import Image

    image, png, jpeg = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels), io.BytesIO(), io.BytesIO()
    image.save(png, "PNG")
    if png.tell() <= _LARGEST:
        return ".png", png.getvalue()
    image.save(jpeg, "JPEG", quality=92)
    return ".jpg", jpeg.getvalue()
