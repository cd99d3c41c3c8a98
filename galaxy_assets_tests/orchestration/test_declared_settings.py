"""Which assets a changed setting makes outdated by themselves: those that read it; what is made of them follows."""

import pytest

from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.settings.survey import Survey
from galaxy_assets_tests.conftest import TINY

EVERY_FIGURE = {name for name in ASSETS if name.startswith(("figure_", "table_"))}
# a change of the survey -> the assets that read it, beside `results`, which reads all settings
CHANGES = {
    "source": (
        {"source": TINY["source"] | {"campaign": "5"}},
        "delivered_images taken_ids catalogue absent_images volunteer_votes vote_fractions",
    ),
    "source.bands": (
        {"source": TINY["source"] | {"bands": ["g"]}},
        "delivered_images taken_ids catalogue absent_images volunteer_votes vote_fractions cutouts recipe_trials",
    ),
    "cutout": ({"cutout": {"size": 64}}, "cutouts recipe_trials table_1"),
    "artefacts": (
        {"artefacts": {"trail_length": 0.3}},
        "artefact_evidence artefact_map artefact_regions clean_galaxies",
    ),
    "artefacts.region_evidence": (
        {"artefacts": {"region_evidence": ["saturated"]}},
        "artefact_evidence artefact_map artefact_regions clean_galaxies cluster_summary",
    ),
    "artefacts.most_removed": ({"artefacts": {"most_removed": 0.2}}, "clean_galaxies"),
    "artefacts.pretrained_frame": (
        {"artefacts": {"pretrained_frame": "astronomaly"}},
        "pretrained_features artefact_evidence artefact_map artefact_regions clean_galaxies",
    ),
    "start_weights": ({"start_weights": ["imagenet", "random"]}, ""),
    "main_start_weights": (
        {"main_start_weights": "random"},
        "recipe_trials batch_drift oracle_events anomaly_model anomaly_scores anomaly_ranking baseline_rankings "
        "search_spread similar_galaxies encoder_comparison " + " ".join(EVERY_FIGURE),
    ),
    "networks": (
        {"networks": {"mine": {"backbone": "resnet18", "weights": "mine.pt"}}},
        "byol_checkpoints recipe_trials",
    ),
    "rgz_checkpoint": ({"rgz_checkpoint": "other.pt"}, "byol_checkpoints recipe_trials"),
    "recipe.image_size": (
        {"recipe": TINY["recipe"] | {"image_size": 48}},
        "pretrained_features byol_checkpoints epoch_accuracy recipe_trials figure_03 figure_14 table_1",
    ),
    "recipe": (
        {"recipe": TINY["recipe"] | {"epochs": 3}},
        "byol_checkpoints epoch_accuracy figure_03 figure_14 table_1",
    ),
    "recipe.seed": (
        {"recipe": TINY["recipe"] | {"seed": 3}},
        "byol_checkpoints epoch_accuracy anomaly_scores recipe_trials figure_03 figure_14 table_1",
    ),
    "evaluation": (
        {"evaluation": TINY["evaluation"] | {"splits": 6}},
        "evaluation_subset epoch_accuracy figure_02 figure_03 figure_13 figure_14 table_1",
    ),
    "variance": ({"variance": 0.9}, "pca_model table_1"),
    "mixture": (
        {"mixture": TINY["mixture"] | {"components": 5}},
        "cluster_model figure_04 figure_05 figure_06 table_1",
    ),
    "votes": ({"votes": {"minimum_votes": 3}}, "vote_fractions figure_07"),
    "labelling": ({"labelling": {"candidates": 3}}, "cluster_summary training_candidates"),
    "umap": ({"umap": {"n_neighbors": 4}}, "artefact_umap_model artefact_map umap_model umap figure_01 table_1"),
    "anomaly": (
        {"anomaly": TINY["anomaly"] | {"budget": 14}},
        "oracle_events anomaly_model baseline_rankings search_spread anomaly_recall figure_08 figure_09 figure_10 "
        "table_1",
    ),
    "anomaly.learner": (
        {"anomaly": TINY["anomaly"] | {"learner": "published"}},
        "oracle_events anomaly_model anomaly_ranking baseline_rankings search_spread anomaly_recall figure_08 "
        "figure_09 figure_10 table_1",
    ),
    "similarity": ({"similarity": {"neighbours": 2}}, "similar_galaxies figure_11 figure_12 table_1"),
    "drift": ({"drift": {"shift": 0.4}}, "batch_drift"),
    "auto": (
        {"auto": ["recipe.image_size"]},
        "recipe_trials cutouts pretrained_features clean_galaxies byol_checkpoints embeddings epoch_accuracy figure_03 "
        "figure_14 table_1",
    ),
}
WORDS = {"name", "title", "description", "reference", "owner", "sky_links"}
SURVEY = Survey.model_validate(TINY)


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_setting_is_seen_by_the_assets_that_read_it_and_no_others(name):
    change, readers = CHANGES[name]
    other = Survey.model_validate(TINY | change)
    seen = {name for name, asset in ASSETS.items() if asset.code_version(other) != asset.code_version(SURVEY)}
    assert seen == {"results", *readers.split()}


def test_every_setting_is_changed_here():
    assert {name.split(".")[0] for name in CHANGES} == set(Survey.model_fields) - WORDS
