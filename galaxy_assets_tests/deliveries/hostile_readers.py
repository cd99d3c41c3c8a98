"""Small deliveries of every reader and container, damaged at random and read whole: `python -m ... SEED ROUNDS`.

From the listing to the pixels, in a process of its own: a library that crashes would take the tests with it, and memory
is counted per process.
"""

import io
import os
import shutil
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from galaxy_assets import plugins
from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.memory import MEMORY
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.science.votes import VotesError
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source
from galaxy_assets_tests.deliveries.hostile import damaged, npy, peak, small_files
from galaxy_assets_tests.deliveries.test_mirabest import archive, members

_FILES = small_files()
_SUFFIX = {"tiff": ".tif", "npy": ".npy", "fits": ".fits", "jpeg": ".jpg", "webp": ".webp", "avif": ".avif"}
_ARRAY = np.random.default_rng(0).integers(0, 256, (5, 20, 24, 3), dtype=np.uint8)


def named(only: Callable[[str], bool]) -> dict[str, bytes]:
    return {f"{k.replace(' ', '_')}{_SUFFIX.get(k.split()[0], '.png')}": v for k, v in _FILES.items() if only(k)}


def is_fits(kind: str) -> bool:
    return kind.split()[0] in ("fits", "rice", "gzip", "hcompress", "plio")


PICTURES = named(lambda kind: not is_fits(kind))
FITS = {name.replace(".png", ".fits"): data for name, data in named(is_fits).items()}


def put(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def folder(survey: Path, files: dict[str, bytes] = PICTURES) -> None:
    manifest = "file,bytes\n" + "".join(f"{name},{len(data)}\n" for name, data in files.items())
    put(survey / "a", files)
    put(survey / "c", files | {"manifest.csv": manifest.encode()})
    (survey / "labels.csv").write_text("id,label\n" + "".join(f"{name},x\n" for name in files))


def packed(survey: Path) -> None:
    with zipfile.ZipFile(survey / "a.zip", "w", zipfile.ZIP_DEFLATED) as to:
        for name, data in PICTURES.items():
            to.writestr(name, data)
    for name, mode in (("b.tar", "w"), ("c.tar.gz", "w:gz"), ("d.tar.xz", "w:xz")):
        with tarfile.open(survey / name, mode) as to:  # pyright: ignore[reportCallIssue, reportArgumentType]
            for member, data in PICTURES.items():
                info = tarfile.TarInfo(member)
                info.size = len(data)
                to.addfile(info, io.BytesIO(data))


def containers(survey: Path) -> None:
    ids = [f"g{i}" for i in range(5)]
    png = _FILES["png"]
    pq.write_table(pa.table({"id": ids, "image": [png] * 5, "label": ids}), survey / "a.parquet")
    np.savez(survey / "b.npz", images=_ARRAY, ids=np.array(ids))
    np.savez_compressed(survey / "c.npz", images=_ARRAY, ids=np.array(ids))
    (survey / "d.npy").write_bytes(npy(_ARRAY))
    with h5py.File(survey / "e.h5", "w") as file:
        file["images"], file["ids"] = _ARRAY, ids
        file.create_dataset("more/images", data=_ARRAY, chunks=(2, 20, 24, 3), compression="gzip")


def simulated(survey: Path) -> None:
    made = survey.parent / "made"
    open_reader(Source(reader="simulated", path="made", simulate="optical", n_images=8, batches=("b1",)), survey.parent)
    shutil.copytree(made, survey, dirs_exist_ok=True)


def radio(survey: Path) -> None:
    archive(survey / "MiraBest_F_batches.tar.gz", members())


def batches(survey: Path) -> None:
    put(survey, members())


WORLDS: list[tuple[str, Callable[[Path], None], dict]] = [
    ("image_folder", folder, {"labels": "labels.csv"}),
    ("image_folder", packed, {}),
    ("image_folder", containers, {}),
    ("fits_folder", lambda survey: folder(survey, FITS), {"labels": "labels.csv"}),
    ("galaxy_zoo_decals", simulated, {}),
    ("simulated", simulated, {"simulate": "optical", "n_images": 8, "batches": ("b1",)}),
    ("mirabest", radio, {}),
    ("mirabest", batches, {}),
]


def read_all(source: Source, root: Path, told: Counter) -> None:
    """Everything that can be asked of a survey; `SurveyError` holds a delivery, `UnreadableImage` is a row."""
    try:
        reader = open_reader(source, root)
        names = [one.name for one in reader.deliveries() if one.state == "whole"]
    except SurveyError:
        told["survey"] += 1
        return
    for batch in names:
        try:
            rows = reader.catalogue(batch).to_pylist()
        except SurveyError:
            told["delivery"] += 1
            continue
        for row in rows:
            told["row" if row["problem"] else "image"] += 1
            try:
                if row["problem"] is None:
                    reader.image(row["file"])
            except UnreadableImage:
                told["unreadable"] += 1
    for asked in (reader.labelled, reader.votes, reader.tables):
        try:
            asked()
        except (SurveyError, VotesError):
            told["table"] += 1


def main(seed: int, rounds: int) -> None:
    """Read every damaged survey; ends with what was told, and the memory that it took beyond the whole ones, MB."""
    ours = {name for name in plugins.names("readers") if plugins.find("readers", name).distribution == plugins.OURS}
    assert {name for name, _, _ in WORLDS} == ours
    warnings.simplefilter("ignore")
    told, before = Counter(), 0
    with tempfile.TemporaryDirectory() as temporary:
        worlds = []
        for i, (name, make, settings) in enumerate(WORLDS):
            survey = Path(temporary) / f"{i}/survey"
            survey.mkdir(parents=True)
            make(survey)
            source = Source.model_validate({"reader": name, "path": "survey"} | settings)
            whole = Counter()
            read_all(source, survey.parent, whole)
            assert whole["image"] > 0 and not whole["row"] + whole["unreadable"] + whole["table"], (name, whole)
            assert not whole["survey"] + whole["delivery"], (name, whole)
            worlds.append((name, source, survey))
        before = peak()
        for name, source, survey in worlds:
            began = time.monotonic()
            rng = np.random.default_rng([seed, zlib.crc32(f"{name} {len(list(survey.iterdir()))}".encode())])
            files = sorted(p for p in survey.rglob("*") if p.is_file() and ".spool" not in p.parts)
            for i in range(rounds):
                broken = {files[int(n)] for n in rng.integers(0, len(files), 3)}
                kept = {path: path.read_bytes() for path in broken}
                for path, content in kept.items():
                    path.write_bytes(damaged(content, rng))
                    os.utime(path, ns=(i, i))
                try:
                    read_all(source, survey.parent, told)
                except BaseException as error:
                    raise AssertionError(f"{name}, round {i}, {sorted(p.name for p in broken)}: {error!r}") from error
                for path, content in kept.items():
                    path.write_bytes(content)
            print(name, f"{time.monotonic() - began:.1f} s", flush=True)
    assert MEMORY.held == 0
    print(dict(told))
    print((peak() - before) // 1024)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
