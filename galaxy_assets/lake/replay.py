"""A ranking as it was: what the label events recorded up to some time say of the galaxies.

Belongs here: from a time to the ranking, without Dagster. Does not belong here: the events (`storage.label_events`),
the model (`science.anomaly_model`).
"""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from galaxy_assets.lake.light import needs_the_whole
from galaxy_assets.lake.similar import open_survey, read_survey_table
from galaxy_assets.science import anomaly_model, pca
from galaxy_assets.science.labels import standing
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.tables import column_to_vectors


def replay_sources(start: str) -> tuple[str, ...]:
    """The tables that `past_ranking` reads, beside people's events.

    Parameters
    ----------
    start : str
        The main start weights.

    Returns
    -------
    tuple of str
        As `similar.read_survey_table` takes them.
    """
    return "oracle_events", f"pca_features/[!.]*/{start}", f"pca_model/{start}"


def past_ranking(survey: str, until: datetime, root: Path | str | None = None) -> pa.Table:
    """`anomaly_ranking` by the label events recorded up to and including `until`, those of the oracle among them.

    The galaxies and their principal components are today's: before a refit, a retraining or a new batch there were
    others.

    Parameters
    ----------
    survey : str
        Its name.
    until : datetime
        With a time zone.
    root : Path or str, optional
        The data folder; $GALAXY_ASSETS_DATA, else ./data, when not given.

    Returns
    -------
    pyarrow.Table
        The columns of `anomaly_ranking`, by rank.

    Raises
    ------
    SurveyError
        For an unknown survey.
    FileNotFoundError
        Where the survey was not run that far.
    ValueError
        Where `until` has no time zone.
    PrintableError
        Where the light half of the package is installed alone (docs/installing.md).
    """
    layout, known = open_survey(survey, root)
    needs_the_whole("a ranking as it was", "sklearn")
    main, learner = known.main_start_weights, known.anomaly.learner
    oracle, galaxies, model_table = (read_survey_table(layout, known, name) for name in replay_sources(main))
    people = LabelLog(layout.labels(survey)).read(until)
    oracle = oracle.filter(pc.less_equal(oracle["recorded"], pa.scalar(until, oracle.schema.field("recorded").type)))
    said = standing(pa.concat_tables([oracle, people]))
    ids, features = galaxies["galaxy_id"].to_numpy(zero_copy_only=False), column_to_vectors(galaxies["vector"])
    components = pca.table_to_model(model_table)
    model = anomaly_model.fit(features, ids, said, components.deviations, learner, known.recipe.seed)
    table = anomaly_model.scores_to_table(galaxies, *model.score(features))
    return anomaly_model.ranked(table, said, learner)
