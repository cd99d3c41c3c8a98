"""A survey of many deliveries: how long a sensor's look, a tick of the automation, a batch's catalogue and the read
model take, and how that grows with the number of batches.

    python benchmarks/growing.py [BATCHES] [IMAGES per batch]      40 and 5,000 when not given

Images are the smallest that count (16 x 16 pixels); nothing is cut or embedded. The survey counts as run before, so
that the automation has something to decide.
"""

import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import yaml

from galaxy_assets.definitions import build_defs
from galaxy_assets.lake import connect, read_model
from galaxy_assets.orchestration.automation.deliveries import register
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import write_table

SURVEY = {
    "name": "growing",
    "title": "Growing",
    "description": "Many deliveries of tiny images.",
    "source": {"reader": "image_folder", "path": "growing"},
    "start_weights": ["imagenet"],
}


def tiny_png(number: int) -> bytes:
    """A grey PNG of 16 x 16 pixels whose bytes no other number's has."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.frombuffer(number.to_bytes(4, "little") * 64, np.uint8).reshape(16, 16)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def deliver(folder: Path, batch: int, images: int) -> None:
    """Write one delivery."""
    home = folder / f"batch_{batch:03d}"
    home.mkdir(parents=True)
    for i in range(images):
        (home / f"g{batch:03d}_{i:05d}.png").write_bytes(tiny_png(batch * images + i))


def main(batches: int, images: int) -> None:
    """Measure and print, a line per quarter of the batches."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "surveys").mkdir()
        (root / "surveys" / "growing.yaml").write_text(yaml.safe_dump(SURVEY), encoding="utf-8")
        survey, layout, defs = survey_files(root).named("growing"), Layout(root), build_defs(root)
        write_table(pa.table({"a": [1]}), layout.table("growing", "pca_model", "imagenet"))  # as if run before
        job = defs.resolve_implicit_global_asset_job_def()
        print("batches     rows  look s  look again s  automation tick s  catalogue s/batch  read model s")
        with dg.DagsterInstance.ephemeral() as instance:
            for step in range(4):
                new = range(step * batches // 4, (step + 1) * batches // 4)
                for batch in new:
                    deliver(root / "raw" / "growing", batch, images)
                look = timed(lambda: register(survey, instance, layout))
                again = timed(lambda: register(survey, instance, layout))
                tick = timed(lambda: decide(defs, instance))
                made = [timed(lambda b=b: catalogue(job, instance, f"batch_{b:03d}")) for b in new]
                publish = timed(lambda: read_model.publish(layout))
                with connect(root) as lake:
                    rows = lake.sql("select count(*) from growing.catalogue").fetchall()[0][0]
                print(
                    f"{new.stop:7d} {rows:8,d} {look:7.2f} {again:13.2f} {tick:18.2f} {np.mean(made):18.2f} "
                    f"{publish:13.2f}",
                    flush=True,
                )


def decide(defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """One tick of the survey's automation."""
    selection = dg.AssetSelection.key_prefixes("growing")
    dg.evaluate_automation_conditions(defs=defs, instance=instance, asset_selection=selection)


def catalogue(job: dg.JobDefinition, instance: dg.DagsterInstance, batch: str) -> None:
    """Materialise a batch's catalogue."""
    asset = dg.AssetKey(["growing", "catalogue"])
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    job.execute_in_process(asset_selection=[asset], partition_key=batch, instance=instance, run_config=quiet)


def timed(what: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or ("40", "5000")))
