"""A survey's encoder as an ONNX file, compared with the features that the lake holds.

Belongs here: which checkpoint, the folder, and the comparison. Does not belong here: the graph
(`science.encoders.onnx_graph`), other exports (`export`).
"""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_assets.lake.export import about_export
from galaxy_assets.lake.similar import open_survey, read_survey_table, table_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.checkpoints import chosen_checkpoint, load_encoder
from galaxy_assets.storage.files import new_folder
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixel_stack import PixelStack
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.tables import column_to_vectors, opened_table, rows_of
from galaxy_assets.storage.trials import in_force

TOLERANCE = 1e-5
"""Largest difference of a feature from torch's, as a share of the largest feature."""

_COMPARED = 16  # galaxies


def export_encoder(
    survey: str, folder: Path | str, *, init: str | None = None, root: Path | str | None = None
) -> dict[str, Any]:
    """Write the chosen encoder of a survey as ONNX to a new folder, whole or not at all.

    `encoder.onnx` takes `images`, float32 (N, C, H, H) in [0, 1], red first, at the size of the recipe, for any N, and
    gives `features`, float32 (N, F): what the table `embeddings` holds, before the principal components. The
    normalisation and the mean over orientations are in the graph; cutting the galaxy out and resizing are not.

    `about.json` says where it comes from and how far its features are from torch's and from the lake's.

    Parameters
    ----------
    survey : str
        Its name.
    folder : Path or str
        Must be absent or empty; `~` is the home folder.
    init : str, optional
        Start weights; the survey's main ones when not given.
    root : Path or str, optional
        The data folder; $GALAXY_ASSETS_DATA, else ./data, when not given.

    Returns
    -------
    dict
        What about.json holds.

    Raises
    ------
    SurveyError
        For an unknown survey.
    ValueError
        Without the extra `onnx`, for unknown start weights, for an encoder that ONNX has no graph for, and where the
        features differ by more than TOLERANCE from torch's.
    FileExistsError
        For a folder with something in it.
    FileNotFoundError
        Where the survey was not run that far.
    """
    from galaxy_assets.science.encoders.onnx_graph import write_onnx

    folder = Path(folder).expanduser()
    layout, known = open_survey(survey, root)
    start, recipe = init or known.main_start_weights, in_force(layout, known).recipe
    if start not in known.start_weights:
        raise ValueError(f"no start weights {start} in {survey}; it has {', '.join(known.start_weights)}")
    pattern = f"embeddings/[!.]*/{start}"
    row, checkpoint = chosen_checkpoint(read_survey_table(layout, known, f"byol_checkpoints/{start}"), layout.root)
    encoder = load_encoder(checkpoint)
    stored, pixels = _with_pixels(layout, known, some_features(layout, known, pattern), recipe.image_size)
    about = about_export(layout, known, [pattern], start) | {
        "what": "encoder",
        "epoch": row["epoch"],
        "backbone": encoder.backbone,
        "input": {"name": "images", "type": "float32", "shape": ["N", pixels.shape[3], *pixels.shape[1:3]]},
        "input_range": [0, 1],
        "output": {"name": "features", "type": "float32", "shape": ["N", encoder.feature_size]},
        "orientations": recipe.orientations,
    }
    with new_folder(folder) as partial:
        path = partial / "encoder.onnx"
        told = {"survey": survey, "start_weights": start, "checkpoint_sha256": row["sha256"]}
        write_onnx(
            encoder,
            path,
            channels=pixels.shape[3],
            size=recipe.image_size,
            orientations=recipe.orientations,
            metadata=told,
        )
        about["compared"] = _compared(path, encoder, pixels, stored, recipe.orientations)
        (partial / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return about


def some_features(layout: Layout, survey: Survey, pattern: str) -> pa.Table:
    """The first embeddings of some deliveries; no more than these rows are read.

    Parameters
    ----------
    layout : Layout
    survey : Survey
    pattern : str
        As `similar.read_survey_table` takes it.

    Returns
    -------
    pyarrow.Table
        With galaxy_id and vector.
    """
    files = table_files(layout, survey, pattern)
    files = files[:: max(1, len(files) // _COMPARED)][:_COMPARED]
    some: list[pa.RecordBatch] = []
    for left, path in zip(range(len(files), 0, -1), files, strict=True):
        wanted = -(-(_COMPARED - sum(map(len, some))) // left)
        with opened_table(path) as file:
            some += itertools.islice(file.iter_batches(wanted, columns=["galaxy_id", "vector"]), 1)
    return pa.Table.from_batches(some)


def _with_pixels(layout: Layout, survey: Survey, some: pa.Table, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, F), and the pixels (n, H, H, C) that they are of."""
    cutouts = read_survey_table(layout, survey, "cutouts/[!.]*")
    stack: PixelStack = PixelStore(layout.pixels(survey.name)).of(cutouts, size)
    return column_to_vectors(some["vector"]), stack[rows_of(cutouts, some)]


def _compared(path: Path, encoder: Any, pixels: np.ndarray, stored: np.ndarray, orientations: Any) -> dict[str, Any]:
    """How far the file's features are from torch's and from the lake's. Raises ValueError beyond TOLERANCE."""
    import torch

    from galaxy_assets.science.encoders.embedding import embed
    from galaxy_assets.science.encoders.onnx_graph import onnx_features

    found = onnx_features(path, pixels)
    expected = embed(encoder, pixels, device=torch.device("cpu"), orientations=orientations)
    largest = float(np.abs(expected).max(initial=0))
    difference, from_lake = (float(np.abs(found - other).max(initial=0)) for other in (expected, stored))
    if not difference <= TOLERANCE * largest:
        raise ValueError(
            f"the ONNX features differ by {difference:.2g} from torch's, of which the largest is {largest:.3g}; "
            "nothing is written. Another version of onnxruntime or torch may agree"
        )
    return {
        "galaxies": len(found),
        "largest_feature": largest,
        "largest_difference_from_torch": difference,
        "largest_difference_from_embeddings": from_lake,
    }
