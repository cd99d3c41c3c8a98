"""More like this one: the nearest galaxies to a few queries (paper 7.2).

Belongs here: the asset. Does not belong here: the search (`science.neighbours`), a search by a person's own image
(`lake.similar`), the index of a large survey (`storage.similarity`).
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.columns import only
from galaxy_assets.orchestration.declaration import IN_TURN, MAIN_START, Result, SurveyContext, picture, survey_asset
from galaxy_assets.storage.in_turn import TablesInTurn
from galaxy_assets.storage.similarity import index_path, make_index
from galaxy_assets.storage.tables import column_to_vectors, rows_of

RECALL = "recall of the index"
"""Share of the exact neighbours that the index finds, as the footer of the table has it."""

NEIGHBOURS = {
    "query_id": "id of the galaxy to which others are similar",
    "neighbour_id": "id of the similar galaxy",
    "distance": "Euclidean distance of the two in principal components",
    "rank": "place among the neighbours, from 1 the nearest",
}


@survey_asset(
    "7_discovery",
    paper="7.2, Figures 11 and 12",
    reads={
        "cutouts": only("galaxy_id", "batch", "pixels"),
        "pca_features": MAIN_START | IN_TURN,
        "anomaly_ranking": only("galaxy_id"),
    },
    settings=lambda survey: [survey.similarity, survey.main_start_weights],
    trigger="at_once",
    columns=NEIGHBOURS,
)
def similar_galaxies(
    context: SurveyContext, cutouts: pa.Table, pca_features: TablesInTurn, anomaly_ranking: pa.Table
) -> Result:
    """The nearest galaxies in principal components to the survey's query galaxies, or to the best ranked ones
    where the survey names none. Of a survey from `similarity.exact_below` galaxies on an index is made beside it, and
    how many of the exact neighbours it finds is measured.
    """
    settings = context.survey.similarity
    asked = settings.queries or anomaly_ranking["galaxy_id"][: settings.n_queries].to_pylist()
    large = pca_features.num_rows >= settings.exact_below
    neighbours, distances, measured = (_by_index if large else _exactly)(context, pca_features, asked)
    k = neighbours.shape[1]
    table = pa.table(
        {
            "query_id": [galaxy for galaxy in asked for _ in range(k)],
            "neighbour_id": pa.array(neighbours.ravel(), pa.string()),
            "distance": distances.ravel(),
            "rank": pa.array(list(range(1, k + 1)) * len(asked), pa.int32()),
        }
    )
    shown = [galaxy for query, near in zip(asked, neighbours.tolist(), strict=True) for galaxy in [query, *near]]
    images = context.pixels.of(cutouts)[rows_of(cutouts, shown)]
    return Result(table, {"queries": len(asked), **_sheet(context, images, distances)}, measured=measured)


Found = tuple[np.ndarray, np.ndarray, dict[str, float]]
"""Ids and distances of the neighbours of each query, and what was measured."""


def _exactly(context: SurveyContext, pca_features: TablesInTurn, asked: Sequence[str]) -> Found:
    from galaxy_assets.science.neighbours import SimilaritySearch

    table = pca_features.select(["galaxy_id", "vector"])
    ids, features = table["galaxy_id"].to_numpy(zero_copy_only=False), column_to_vectors(table["vector"])
    row = {galaxy: i for i, galaxy in enumerate(ids)}
    _refuse([galaxy for galaxy in asked if galaxy not in row], context.survey.name)
    search = SimilaritySearch(features, ids)
    found = [search.most_similar(features[[row[q]]], context.survey.similarity.neighbours, [row[q]]) for q in asked]
    return ids[np.stack([rows for rows, _, _ in found])], np.stack([distances for _, distances, _ in found]), {}


def _by_index(context: SurveyContext, pca_features: TablesInTurn, asked: Sequence[str]) -> Found:
    """By the index of the features, which is made where it is not there."""
    survey, files = context.survey, pca_features.paths
    path, count = (
        index_path(context.layout, survey.name, survey.main_start_weights, files),
        survey.similarity.neighbours,
    )
    index = make_index(path, files, neighbours=count)
    context.beside.append(path)
    vectors = index.vectors_of(asked)
    _refuse([galaxy for galaxy in asked if galaxy not in vectors], survey.name)
    found = [index.nearest(vectors[galaxy][None], count, [galaxy]) for galaxy in asked]
    ids, distances = np.stack([ids for ids, _, _ in found]), np.stack([distances for _, distances, _ in found])
    return ids, distances, {RECALL: index.recall, "cells read": index.probes, "cells": len(index.centres)}


def _refuse(unknown: list[str], survey: str) -> None:
    """Raise ValueError where a galaxy asked for is not among the clean galaxies."""
    if unknown:
        raise ValueError(
            f"similarity.queries of {survey}: {', '.join(unknown)} not among the clean galaxies; "
            "correct the survey's YAML or look in clean_galaxies for the rule that removed them"
        )


def _sheet(context: SurveyContext, images: np.ndarray, distances: np.ndarray) -> dict:
    """A row per query, the query first, for the UI."""
    from galaxy_assets.figures.galleries import contact_sheet

    captions = [text for row in distances for text in ["query", *(f"{x:.1f}" for x in row)]]
    sheet = contact_sheet(list(images), captions, columns=distances.shape[1] + 1)
    return picture(context, sheet, "similar_galaxies")
