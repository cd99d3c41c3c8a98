"""A lake of sixty galaxies, written by hand, for what the explorer reads of one; no run is needed."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml
from PIL import Image

from galaxy_assets.lake.read_model import publish
from galaxy_assets.orchestration.graph import EXPLORER
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import Origin, with_origin
from galaxy_assets.storage.tables import digest, read_table, vectors_to_column, write_table

N, SIDE = 60, 24
NAME = "small"


HOSTILE = 'g47" onload="window.hacked = 1" onerror="window.hacked = 1"><b>bold'
"""An id that a page which does not escape would run."""


def keep(table: pa.Table, path: Path) -> None:
    """Write a table of the lake with its data version, as assets do."""
    write_table(with_origin(table, Origin(data=digest(table))), path)


def ids() -> list[str]:
    return [HOSTILE if i == 47 else f"g{i:02d}" for i in range(N)]


def write_ranking(layout: Layout, scores: np.ndarray) -> None:
    """`anomaly_ranking` by these scores (N,); the first three galaxies were shown to somebody."""
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(N, np.int64)
    rank[order] = np.arange(1, N + 1)
    table = pa.table(
        {
            "galaxy_id": ids(),
            "batch": ["b"] * N,
            "score": scores,
            "score_std": np.linspace(0.1, 1, N),
            "rank": rank,
            "queried_round": pa.array([0] * 3 + [None] * (N - 3), pa.int32()),
        }
    )
    keep(table.take(pa.array(order)), layout.table(NAME, "anomaly_ranking"))


PRETRAINED_MAP = (("artefact_map", "b"), ("artefact_umap_model",))
MAPS = (("umap", "b", "imagenet"), *PRETRAINED_MAP)


def turn_map_over(layout: Layout, tables: Sequence[tuple[str, ...]] = MAPS) -> None:
    """Make maps anew, with their galaxies in the other order: row i is another galaxy than before."""
    for where in tables:
        path = layout.table(NAME, *where)
        made = read_table(path)
        keep(
            made.set_column(made.column_names.index("x"), "x", made["x"].take(pa.array(range(len(made))[::-1])))[::-1],
            path,
        )


def write_small_lake(root: Path) -> Layout:
    """Galaxies on a line of 0 to 59, in clusters of ten, with features that are their number, votes for every other,
    and a cutout whose grey value is their number; g58 and g59 were removed and have no place on the map."""
    layout, numbers, names = Layout(root), np.arange(N), ids()
    layout.surveys.mkdir(parents=True)
    settings = {
        "name": NAME,
        "title": "Small <b>survey</b>",
        "description": "By hand.",
        "source": {"reader": "image_folder", "path": NAME},
        "start_weights": ["imagenet", "random"],
        "evaluation": {"classes": [{"name": k, "labels": [k]} for k in ("even", "odd")]},
    }
    (layout.surveys / f"{NAME}.yaml").write_text(yaml.safe_dump(settings))
    first = {"galaxy_id": names, "batch": ["b"] * N}
    none = pa.nulls(N, pa.string())
    catalogue = {
        **first,
        "file": [f"images/{name}.png" for name in names],
        "sha256": none,
        "width": pa.array([SIDE] * N, pa.int32()),
        "height": pa.array([SIDE] * N, pa.int32()),
        "ra": numbers + 0.5,
        "dec": numbers - 30.25,
        "label": ["even" if i % 2 == 0 else "odd" for i in range(N)],
        "problem": none,
        "reason": none,
    }
    cutouts = {
        **first,
        "outcome": ["cropped"] * N,
        **{f"box_{k}": pa.array([v] * N, pa.int32()) for k, v in (("x0", 2), ("y0", 2), ("x1", 20), ("y1", 20))},
        "angle": [0.0] * N,
        "noise_std": [1.0] * N,
        "threshold": [4.0] * N,
        "contour_area": [50.0] * N,
        "reason": none,
        "pixels": ["by hand"] * N,
    }
    clean = N - 2
    own = {"galaxy_id": names[:clean], "batch": ["b"] * clean, "init": ["imagenet"] * clean}
    place = numbers[:clean].astype(np.float32)
    suspect = np.isin(numbers, [0, 1, 2, 58, 59])
    artefacts = {
        **first,
        "x": numbers.astype(np.float32),
        "y": np.zeros(N, np.float32),
        "blank_fraction": np.zeros(N),
        "suspect": suspect,
        "reason": ["saturated" if s else "" for s in suspect],
    }
    tables = {
        ("catalogue", "b"): catalogue,
        ("cutouts", "b"): cutouts,
        ("umap", "b", "imagenet"): {**own, "x": place, "y": place % 10},
        ("cluster_labels", "b", "imagenet"): {
            **own,
            "cluster": pa.array((numbers[:clean] // 10), pa.int32()),
            "probability": np.linspace(1, 0.5, clean),
        },
        ("pca_features", "b", "imagenet"): {
            **own,
            "vector": vectors_to_column(np.column_stack([place, np.zeros(clean), np.ones(clean)])),
        },
        ("artefact_map", "b"): artefacts,
        ("artefact_umap_model",): artefacts,
        ("clean_galaxies", "b"): {
            **first,
            "kept": numbers < clean,
            "rule": pa.array([None] * clean + ["blank"] * 2, pa.string()),
        },
        ("volunteer_votes",): {
            "galaxy_id": names[::2],
            "total_votes": pa.array([10] * (N // 2), pa.int32()),
            "merging_merger_fraction": np.linspace(0, 1, N // 2),
            "smooth-or-featured_featured-or-disk_or_an_answer_of_many_words_fraction": np.ones(N // 2),
        },
        ("cluster_summary", "imagenet"): {
            "init": ["imagenet"] * 6,
            "cluster": pa.array(range(6), pa.int32()),
            "n": [10] * 5 + [8],
            "artefact": [False] * 6,
            "label": pa.nulls(6, pa.string()),
            "description": [f"kind {k}" for k in range(6)],
            "evidence": ["by hand"] * 6,
            "described_by": ["rule"] * 6,
        },
        ("vote_fractions", "imagenet"): {
            "init": ["imagenet"] * 7,
            "cluster": ["all", *map(str, range(6))],
            "question": ["merging"] * 7,
            "answer": ["merger"] * 7,
            "n": pa.array([29, *[5] * 6], pa.int32()),
            "mean": [0.5, 0.0, 0.2, 0.4, 0.6, 0.8, 0.95],
        },
    }
    for where, columns in tables.items():
        keep(pa.table(columns), layout.table(NAME, *where))
    write_ranking(layout, np.linspace(5, 0, N))
    folder = layout.pixels(NAME) / "b"
    folder.mkdir(parents=True)
    pixels = np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], (N, SIDE, SIDE, 3))
    np.save(folder / "cutouts.npy", np.ascontiguousarray(pixels))
    (folder / "content.json").write_text(
        json.dumps({"n": N, "shape": [SIDE, SIDE, 3], "fingerprint": "by hand", "chunk": 9})
    )
    originals = layout.raw / NAME / "images"
    originals.mkdir(parents=True)
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(np.ascontiguousarray(image)).save(originals / f"{name}.png")
    publish(layout, EXPLORER)
    return layout
