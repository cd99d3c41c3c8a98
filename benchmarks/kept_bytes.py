"""What a galaxy takes on disk: its delivered image, and its row in each table. Stored pixels are not compressed.

    OMP_NUM_THREADS=1 python benchmarks/kept_bytes.py [--small]

Images are those of the simulated optical survey, 300 to 424 pixels, as PNG. Tables are those of the simulated survey of
`survey_at_scale.py`, 512 features, written as the assets write them. Nothing is compared and no time is taken.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import survey_at_scale
from side_by_side import Row, main

from galaxy_assets.simulation.surveys import simulate_optical
from galaxy_assets.storage.layout import Layout

STAGE = "kept_bytes"
TABLES = ("embeddings", "pca_features", "cluster_labels", "anomaly_ranking")


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder, or of one file."""
    return sum(path.stat().st_size for path in [folder, *folder.rglob("*")] if path.is_file())


def images(count: int, folder: Path) -> Iterator[Row]:
    """The delivered files of the simulated optical survey."""
    simulate_optical(folder, batches=["one"], n_images=count, seed=3, processes=1)
    files = sorted((folder / "one").rglob("*.png"))
    yield Row(STAGE, "delivered image, PNG", len(files), bytes=sum(path.stat().st_size for path in files))


def tables(count: int, folder: Path) -> Iterator[Row]:
    """The tables of the simulated survey."""
    layout = Layout(folder)
    survey_at_scale.deliver(layout, count)
    for step in ("pca_model", "pca_features", "cluster_model", "cluster_labels", "label_events", "anomaly_ranking"):
        survey_at_scale.STEPS[step](layout)
    for name in TABLES:
        kept = layout.lake / survey_at_scale.SURVEY / name
        yield Row(STAGE, name, count, bytes=size_of(kept if kept.exists() else kept.with_suffix(".parquet")))


def measure(small: bool) -> Iterator[Row]:
    """Images and tables."""
    with tempfile.TemporaryDirectory() as folder:
        yield from images(4 if small else 40, Path(folder) / "images")
        yield from tables(1_000 if small else 20_000, Path(folder) / "lake")


if __name__ == "__main__":
    main(STAGE, measure)
