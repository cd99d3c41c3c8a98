"""The artefact step on stored cutouts: which frame of them the pretrained network sees."""

import logging

import numpy as np
import pyarrow as pa
import torch

from galaxy_assets.orchestration.assets.artefacts import _are_fitted, with_pixels
from galaxy_assets.orchestration.declaration import SurveyContext
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.framing import AstronomalyFrame
from galaxy_assets.science.encoders.weights import build_encoder
from galaxy_assets.science.projection import feature_keys, fit_map, model_to_table
from galaxy_assets.settings.artefacts import ArtefactRules
from galaxy_assets.settings.structure import Umap
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import beside, column_to_vectors, read_table


def test_pretrained_features_are_of_the_frame_that_the_survey_names(world):
    layout, asset = Layout(world.root), ASSETS["pretrained_features"]
    cutouts = read_table(layout.table("tiny", "cutouts", "second"))
    features = {}
    for frame in ("whole", "astronomaly"):
        survey = world.survey.model_copy(update={"artefacts": ArtefactRules(pretrained_frame=frame)})
        context = SurveyContext(survey, {}, layout, "second", "", logging.getLogger(__name__))
        table = asset.function(context, cutouts=cutouts).table
        features[frame] = column_to_vectors(table["vector"])
    stored = column_to_vectors(read_table(layout.table("tiny", "pretrained_features", "second"))["vector"])
    np.testing.assert_array_equal(features["whole"], stored)
    recipe, rows = world.survey.recipe, with_pixels(cutouts)
    encoder = build_encoder(recipe.backbone, "imagenet", seed=recipe.seed, weights=layout.weights)
    frames = AstronomalyFrame(context.pixels.of(cutouts))
    expected = embed(encoder, frames, indices=rows, device=torch.device("cpu"))
    np.testing.assert_array_equal(features["astronomaly"], expected)
    assert len(rows) == len(cutouts) - 1 and np.abs(features["astronomaly"] - stored).max() > 0.5 * np.abs(stored).max()


def test_an_image_that_was_replaced_is_not_one_that_the_map_is_fitted_on(world):
    layout = Layout(world.root)
    model = read_table(layout.table("tiny", "artefact_umap_model"))
    for batch in ("first", "second"):
        found = read_table(layout.table("tiny", "artefact_map", batch))
        delivered = set(model["batch"].to_pylist())
        assert _are_fitted(found, model).tolist() == [batch in delivered] * found.num_rows
    found = read_table(layout.table("tiny", "artefact_map", "first"))
    x, ids = found["x"].to_pylist(), found["galaxy_id"].to_pylist()
    x[1], ids[2] = x[1] + 1e-3, "new"
    other = found.set_column(0, "galaxy_id", pa.array(ids)).set_column(2, "x", pa.array(x, found["x"].type))
    assert np.flatnonzero(~_are_fitted(other, model)).tolist() == [1, 2]


def test_copies_of_an_image_are_fitted_on_alike():
    """Each lies where the map has the first of them, and has a place of its own in the model."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 8)).astype(np.float32)
    features[:9] = features[0]
    keys, settings = feature_keys(features), Umap()
    galaxies = pa.table({"galaxy_id": [f"g{i:02d}" for i in range(40)], "batch": ["only"] * 40})
    fitted = fit_map(features, keys, settings)
    model = beside(galaxies, model_to_table(fitted))
    xy = fitted.place(features, keys, settings)
    assert np.ptp(model["x"].to_numpy()[:9]) > 0 and np.ptp(xy[:9, 0]) == 0
    found = galaxies.append_column("x", pa.array(xy[:, 0])).append_column("y", pa.array(xy[:, 1]))
    assert _are_fitted(found, model).all()
