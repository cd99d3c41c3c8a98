"""Whole small files of every kind that is read, and how each is read as the platform reads it.

Belongs here: the kinds. Does not belong here: how files are damaged, and what may come of it (`inputs`).
"""

import gzip
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from campaign.world import SURVEY


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    write : writes whole files below an empty folder, from the real data and a finished data folder, and returns the
    file to damage. read : reads what is below the folder and returns how many rows, images or keys it found.
    text : the file is text.
    """

    write: Callable[[Path, Path, Path], Path]
    read: Callable[[Path, Path], int]
    text: bool = False


def _galaxy(kind: type = np.float32) -> np.ndarray:
    noise = np.random.default_rng(0).normal(100, 5, (40, 36))
    return (noise + 400 * np.outer(np.hanning(40), np.hanning(36))).astype(kind)


def _encoded(suffix: str, folder: Path) -> Path:
    """One simulated galaxy as an image file."""
    from astropy.io import fits
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"galaxy{suffix}"
    if suffix.startswith(".fits"):
        hdu = fits.PrimaryHDU(_galaxy())
        hdus = [fits.PrimaryHDU(), fits.CompImageHDU(_galaxy(), compression_type="RICE_1")] if "fz" in suffix else [hdu]
        fits.HDUList(hdus).writeto(path)
    elif suffix == ".tif":
        import tifffile

        tifffile.imwrite(path, _galaxy(np.uint16), compression="zlib")
    else:
        grey = np.clip(_galaxy() / 2, 0, 255).astype(np.uint8)
        Image.fromarray(np.dstack([grey, grey // 2, grey // 3])).save(path)
    return path


def _image(suffix: str) -> Kind:
    def write(folder: Path, data: Path, finished: Path) -> Path:
        return _encoded(suffix, folder / "survey" / "images" / "batch")

    return Kind(write, _read_survey(reader="fits_folder" if "fits" in suffix else "image_folder"))


def _read_survey(**source: str) -> Callable[[Path, Path], int]:
    """Read all deliveries of a survey, their catalogues and every image that is named there."""

    def read(folder: Path, damaged: Path) -> int:
        from galaxy_assets.deliveries.images import UnreadableImage
        from galaxy_assets.deliveries.readers import open_reader
        from galaxy_assets.settings.source import Source

        reader, rows, unreadable = open_reader(Source(path="survey", **source), folder), 0, None
        if (labelled := reader.labelled()) is not None:
            rows += labelled.num_rows
        if reader.votes is not None:
            votes = reader.votes()
            rows += 0 if votes is None else votes.num_rows
        for batch in reader.batches():
            catalogue = reader.catalogue(batch)
            for file in catalogue["file"].to_pylist():
                try:
                    reader.image(file)
                    rows += 1
                except UnreadableImage as error:
                    unreadable = error
        if unreadable is not None:
            raise unreadable
        return rows

    return read


def _container(name: str) -> Kind:
    def write(folder: Path, data: Path, finished: Path) -> Path:
        images = [_encoded(suffix, folder / "beside") for suffix in (".png", ".jpg", ".fits")]
        path = folder / "survey" / "images" / name
        path.parent.mkdir(parents=True)
        if name.endswith(".zip"):
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for i, image in enumerate(images):
                    archive.write(image, f"g{i}{image.suffix}")
        elif ".tar" in name:
            with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as archive:
                for i, image in enumerate(images):
                    archive.add(image, f"g{i}{image.suffix}")
        elif name.endswith(".npz"):
            np.savez(path, images=np.stack([_galaxy(np.uint8)] * 4), ids=np.array(["a", "b", "c", "d"]))
        elif name.endswith(".h5"):
            import h5py

            with h5py.File(path, "w") as file:
                file["images"] = np.stack([_galaxy(np.uint8)] * 4)
        else:
            rows = [
                {"id": f"g{i}", "image": {"bytes": image.read_bytes(), "path": None}} for i, image in enumerate(images)
            ]
            pq.write_table(pa.Table.from_pylist(rows), path)
        shutil.rmtree(folder / "beside")
        return path

    return Kind(write, _read_survey(reader="image_folder"))


def _manifest(folder: Path, data: Path, finished: Path) -> Path:
    images = folder / "survey" / "images"
    image = _encoded(".png", images / "batch")
    path = images / "batch.manifest.csv"
    path.write_text(f"file,bytes,sha256\n{image.name},{image.stat().st_size},\n")
    return path


def _label_table(name: str) -> Kind:
    def write(folder: Path, data: Path, finished: Path) -> Path:
        from astropy.table import Table

        _encoded(".png", folder / "survey" / "images" / "batch")
        table = Table(
            {"id": [f"g{i}" for i in range(30)], "label": ["a", "b", "c"] * 10, "ra": np.linspace(0, 350, 30)}
        )
        formats = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".xml": "votable"}
        path = folder / "survey" / name
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist([dict(row) for row in table.to_pandas().to_dict("records")]), path)
        else:
            table.write(path, format=formats[path.suffix])
        return path

    text = not name.endswith((".fits", ".parquet"))
    return Kind(write, _read_survey(reader="image_folder", labels=name, label_column="label"), text)


def _decals(folder: Path, data: Path, finished: Path) -> Path:
    shutil.copytree(data / "gz_decals_sample", folder / "survey")
    return folder / "survey" / "gz_decals_volunteers_1_and_2.csv"


def _mirabest(folder: Path, data: Path, finished: Path) -> Path:
    from golden import write_mirabest

    path = folder / "survey" / "batches"
    write_mirabest(next((data / "mirabest").glob("*.tar.gz")), path)
    batches = sorted(p for p in path.iterdir() if "batch" in p.name and p.suffix != ".meta")
    for extra in batches[1:]:
        extra.unlink()
    return batches[0]


def _labels_csv(folder: Path, data: Path, finished: Path) -> Path:
    path = folder / "people.csv"
    rows = "\n".join(f'g{i},{i % 6},someone,2026-01-{i % 28 + 1:02d}T00:00,"a note, {i}"' for i in range(30))
    path.write_text(f"galaxy_id,score,who,time,note\n{rows}\n")
    return path


def _zooniverse(folder: Path, data: Path, finished: Path) -> Path:
    path = folder / "classifications.csv"
    lines = ["classification_id,user_name,created_at,annotations,subject_data"]
    for i in range(20):
        notes = json.dumps([{"task": "T0", "task_label": "?", "value": "Yes" if i % 2 else "No"}]).replace('"', '""')
        subject = json.dumps({str(i): {"retired": None, "galaxy_id": f"g{i}"}}).replace('"', '""')
        lines.append(f'{i},someone,2026-01-01 00:00:{i:02d} UTC,"{notes}","{subject}"')
    path.write_text("\n".join(lines) + "\n")
    return path


def _read_label_file(folder: Path, damaged: Path) -> int:
    from galaxy_assets.deliveries.label_files import ZooniverseAnswers, read_label_file

    return len(read_label_file(damaged, ZooniverseAnswers(answers={"Yes": 5, "No": 0})).labels)


def _answers(folder: Path, data: Path, finished: Path) -> Path:
    path = folder / "zooniverse.yaml"
    path.write_text("task: T0\nanswers:\n  'Yes': 5\n  'No': 0\n  Ring: ring\ngalaxy_id: galaxy_id\n")
    return path


def _read_answers(folder: Path, damaged: Path) -> int:
    from galaxy_assets.deliveries.label_files import read_answers

    return len(read_answers(damaged).answers)


def _survey_file(folder: Path, data: Path, finished: Path) -> Path:
    path = folder / "surveys" / f"{SURVEY}.yaml"
    path.parent.mkdir()
    shutil.copy(finished / "surveys" / f"{SURVEY}.yaml", path)
    return path


def _read_survey_files(folder: Path, damaged: Path) -> int:
    from galaxy_assets.settings.files import survey_files

    found = survey_files(folder)
    if found.broken:
        raise ValueError("; ".join(found.broken.values()))
    return len(found.enabled)


def _from_lake(pattern: str) -> Callable[[Path, Path, Path], Path]:
    def write(folder: Path, data: Path, finished: Path) -> Path:
        source = sorted(finished.glob(pattern))[0]
        path = folder / source.relative_to(finished)
        path.parent.mkdir(parents=True)
        shutil.copy(source, path)
        return path

    return write


def _read_checkpoint(folder: Path, damaged: Path) -> int:
    from galaxy_assets.storage.checkpoints import load_encoder

    load_encoder(damaged)
    return 1


def _read_lake_table(folder: Path, damaged: Path) -> int:
    from galaxy_assets.storage.provenance import origin
    from galaxy_assets.storage.tables import read_table

    origin(damaged)
    return read_table(damaged).num_rows


def _read_events(folder: Path, damaged: Path) -> int:
    from galaxy_assets.storage.label_events import LabelLog

    return LabelLog(folder / "labels" / SURVEY).read().num_rows


def _read_pixels(folder: Path, damaged: Path) -> int:
    from galaxy_assets.storage.pixels import PixelStore

    store = PixelStore(folder / "lake" / SURVEY / "pixels")
    store.fingerprint(["first"]) if damaged.suffix == ".json" else store.read("first")[-1].sum()
    return 1


def _worksheet(folder: Path, data: Path, finished: Path) -> Path:
    path = folder / "worksheet.csv"
    path.write_text("init,exemplars,description,label,artefact\nimagenet,a;b,round,elliptical,no\nimagenet,c,,,yes\n")
    return path


def _read_worksheet(folder: Path, damaged: Path) -> int:
    from galaxy_assets.science.worksheet import read_worksheet

    return len(read_worksheet(damaged, ["imagenet"]))


def _gzipped_fits(folder: Path, data: Path, finished: Path) -> Path:
    image = _encoded(".fits", folder / "survey" / "images" / "batch")
    packed = image.with_name("galaxy.fits.gz")
    packed.write_bytes(gzip.compress(image.read_bytes()))
    image.unlink()
    return packed


def _numpy_file(folder: Path, data: Path, finished: Path) -> Path:
    written = io.BytesIO()
    np.save(written, _galaxy())
    path = folder / "survey" / "images" / "batch" / "galaxy.npy"
    path.parent.mkdir(parents=True)
    path.write_bytes(written.getvalue())
    return path


KINDS = {
    **{f"image {s}": _image(s) for s in (".png", ".jpg", ".tif", ".fits", ".fits.fz")},
    "image .fits.gz": Kind(_gzipped_fits, _read_survey(reader="fits_folder")),
    "image .npy": Kind(_numpy_file, _read_survey(reader="image_folder")),
    **{f"images in {n}": _container(n) for n in ("b.tar", "b.tar.gz", "b.zip", "b.npz", "b.h5", "b.parquet")},
    "manifest": Kind(_manifest, _read_survey(reader="image_folder"), text=True),
    **{f"label table {s}": _label_table(f"labels{s}") for s in (".csv", ".ecsv", ".xml", ".fits", ".parquet")},
    "Galaxy Zoo DECaLS votes": Kind(_decals, _read_survey(reader="galaxy_zoo_decals"), text=True),
    "MiraBest batch": Kind(_mirabest, _read_survey(reader="mirabest")),
    "label file": Kind(_labels_csv, _read_label_file, text=True),
    "Zooniverse export": Kind(_zooniverse, _read_label_file, text=True),
    "zooniverse.yaml": Kind(_answers, _read_answers, text=True),
    "survey file": Kind(_survey_file, _read_survey_files, text=True),
    "cluster worksheet": Kind(_worksheet, _read_worksheet, text=True),
    "checkpoint": Kind(_from_lake(f"lake/{SURVEY}/checkpoints/**/*.safetensors"), _read_checkpoint),
    "table of the lake": Kind(_from_lake(f"lake/{SURVEY}/pca_features/**/*.parquet"), _read_lake_table),
    "label events": Kind(_from_lake(f"labels/{SURVEY}/events/[!.]*.parquet"), _read_events),
    "pixels": Kind(_from_lake(f"lake/{SURVEY}/pixels/first/cutouts.npy"), _read_pixels),
    "content of pixels": Kind(_from_lake(f"lake/{SURVEY}/pixels/first/content.json"), _read_pixels, text=True),
}
