"""The simulated oracle: what it knows of a galaxy, and of which it knows nothing."""

import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.discovery import oracle_scores, simulated_search
from galaxy_assets.science import votes
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.settings.survey import Survey
from galaxy_assets_tests.conftest import TINY
from galaxy_assets_tests.science.test_votes import CALM, CRASH, SPIRAL, normal

CATALOGUE = pa.table({"galaxy_id": ["a", "b", "c"], "label": pa.array(["ring", "spiral", None])})
BOTH = {"merging_both": 1, "merging_merger": 3, "merging_neither": 6}
FEW = {"merging_merger": 9}


def test_the_oracle_knows_labels_and_votes_and_nothing_of_other_galaxies():
    by_label = Anomaly(labels=("ring",))
    score, true = oracle_scores(["d", "c", "b", "a"], CATALOGUE, votes.empty("1_and_2"), by_label)
    assert score.tolist() == [-1, -1, 0, 5] and true.tolist() == [False, False, False, True]

    by_votes = Anomaly(question="merging", answers=("merger", "both"))
    table = normal(CALM, CRASH, BOTH, FEW, SPIRAL)  # the last was never asked about merging
    score, true = oracle_scores([f"g{i}" for i in range(6)], CATALOGUE, table, by_votes)
    assert score.tolist() == [0, 2, 2, 5, -1, -1]
    assert true.tolist() == [False, False, True, False, False, False]

    score, true = oracle_scores(["a"], CATALOGUE, votes.empty("1_and_2"), by_votes)
    assert (score.tolist(), true.tolist()) == ([-1], [False])


def test_only_galaxies_with_a_score_are_asked_by_the_numbers_of_the_survey():
    survey, features = Survey.model_validate(TINY), np.random.default_rng(0).normal(size=(60, 3))
    score = np.where(np.arange(60) % 3 == 0, -1, 5 * (np.arange(60) % 7 == 1))
    queries, rows, _ = simulated_search(
        survey, "corrected", features, np.array([f"g{i:02d}" for i in range(60)]), score
    )
    assert (score[rows] >= 0).all() and len(set(rows.tolist())) == 18
    assert [q.score for q in queries] == score[rows].tolist()
    assert np.bincount([q.round for q in queries]).tolist() == [6, 4, 4, 4]
    nothing, none, _ = simulated_search(survey, "corrected", features, np.array(["g"] * 60), np.full(60, -1))
    assert nothing == [] and len(none) == 0
