"""More like this one: the nearest galaxies to a few queries (paper 7.2).

Belongs here: the asset. Does not belong here: the search (`science.neighbours`), a search by a person's own image
(`lake.similar`).
"""

import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.declaration import MAIN_START, Result, SurveyContext, picture, survey_asset
from galaxy_assets.storage.tables import column_to_vectors, rows_of

NEIGHBOURS = {
    "query_id": "id of the galaxy to which others are similar",
    "neighbour_id": "id of the similar galaxy",
    "distance": "Euclidean distance of the two in principal components",
    "rank": "place among the neighbours, from 1 the nearest",
}


@survey_asset(
    "7_discovery",
    paper="7.2, Figures 11 and 12",
    reads={"cutouts": {}, "pca_features": MAIN_START, "anomaly_ranking": {}},
    settings=lambda survey: [survey.similarity, survey.main_start_weights],
    trigger="at_once",
    columns=NEIGHBOURS,
)
def similar_galaxies(
    context: SurveyContext, cutouts: pa.Table, pca_features: pa.Table, anomaly_ranking: pa.Table
) -> Result:
    """The nearest galaxies in principal components to the survey's query galaxies, or to the best ranked ones
    where the survey names none.
    """
    from galaxy_assets.science.neighbours import SimilaritySearch

    settings, ids = context.survey.similarity, pca_features["galaxy_id"].to_numpy(zero_copy_only=False)
    asked = settings.queries or anomaly_ranking["galaxy_id"].to_pylist()[: settings.n_queries]
    features, queries = column_to_vectors(pca_features["vector"]), _rows(asked, ids, context.survey.name)
    search = SimilaritySearch(features, ids)
    found = [search.most_similar(features[[q]], settings.neighbours, [q]) for q in queries]
    neighbours, distances = (np.stack([answer[i] for answer in found]) for i in (0, 1))
    k = neighbours.shape[1]
    table = pa.table(
        {
            "query_id": [galaxy for galaxy in asked for _ in range(k)],
            "neighbour_id": pa.array(ids[neighbours.ravel()], pa.string()),
            "distance": distances.ravel(),
            "rank": pa.array(list(range(1, k + 1)) * len(asked), pa.int32()),
        }
    )
    shown = np.concatenate([[q, *n] for q, n in zip(queries, neighbours, strict=True)])
    images = context.pixels.of(cutouts)[rows_of(cutouts, pca_features.take(shown))]
    return Result(table, {"queries": len(asked), **_sheet(context, images, distances)})


def _rows(asked: "tuple[str, ...] | list[str]", ids: np.ndarray, survey: str) -> list[int]:
    """Rows of the galaxies asked for. Raises ValueError where one is not among the clean galaxies."""
    row = {galaxy: i for i, galaxy in enumerate(ids)}
    unknown = [galaxy for galaxy in asked if galaxy not in row]
    if unknown:
        raise ValueError(
            f"similarity.queries of {survey}: {', '.join(unknown)} not among the clean galaxies; "
            "correct the survey's YAML or look in clean_galaxies for the rule that removed them"
        )
    return [row[galaxy] for galaxy in asked]


def _sheet(context: SurveyContext, images: np.ndarray, distances: np.ndarray) -> dict:
    """A row per query, the query first, for the UI."""
    from galaxy_assets.figures.galleries import contact_sheet

    captions = [text for row in distances for text in ["query", *(f"{x:.1f}" for x in row)]]
    sheet = contact_sheet(list(images), captions, columns=distances.shape[1] + 1)
    return picture(context, sheet, "similar_galaxies")
