"""Simulated volunteers: the official columns, and votes that obey the tree and the truth."""

import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.science import votes
from galaxy_assets.science.galaxy_zoo import TREES
from galaxy_assets.simulation.artefacts import ARTEFACTS
from galaxy_assets.simulation.galaxies import BODIES, describe_galaxy
from galaxy_assets.simulation.streams import PARAMETERS, VOTES, generator
from galaxy_assets.simulation.surveys import VOLUNTEER_TABLE
from galaxy_assets.simulation.volunteers import volunteer_columns, volunteer_row

REAL = os.environ.get("GALAXY_ASSETS_REAL_DATA")


@pytest.fixture(scope="module")
def many() -> list[tuple[str, dict[str, object]]]:
    """Kind and volunteer row of 2000 galaxies, without their images."""
    found = []
    for i in range(2000):
        galaxy = describe_galaxy(generator(1, i, PARAMETERS))
        row = volunteer_row(galaxy, generator(1, i, VOTES))
        found.append((galaxy.artefact or galaxy.body, row | {"iauname": str(i)}))
    return found


def test_volunteer_columns_are_the_official_ones_in_order(optical):
    header = (optical / VOLUNTEER_TABLE).read_text(encoding="utf-8").splitlines()[0]
    assert header.split(",") == volunteer_columns() and len(volunteer_columns()) == 115
    # of the header line of the published table
    assert (
        hashlib.sha256(header.encode()).hexdigest()
        == "3dee3fedb0d9a1e8d2144a5cc4f4e968f7e4c10cef62fca812dee839571a964c"
    )


@pytest.mark.skipif(REAL is None, reason="needs GALAXY_ASSETS_REAL_DATA")
def test_volunteer_columns_are_those_of_the_real_table():
    with Path(REAL or "", "gz_decals_sample", VOLUNTEER_TABLE).open(encoding="utf-8") as stream:
        assert stream.readline().strip().split(",") == volunteer_columns()


def test_counts_add_up_and_unasked_questions_are_zero(many):
    unasked = 0
    for _, row in many:
        assert 20 <= row["smooth-or-featured_total-votes"] <= 45
        for question in TREES["1_and_2"]:
            total = row[question.total_column]
            counts = [row[f"{question.name}_{answer}"] for answer in question.answers]
            fractions = [row[f"{question.name}_{answer}_fraction"] for answer in question.answers]
            assert sum(counts) == total
            assert fractions == [count / total if total else 0.0 for count in counts]
            if question.parents:
                assert total == sum(row["_".join(parent)] for parent in question.parents)
            unasked += total == 0
    assert unasked > 0


def test_kinds_come_in_their_shares(many):
    shares = {**BODIES, **ARTEFACTS}
    counts = Counter(kind for kind, _ in many)
    assert sum(shares.values()) == pytest.approx(1) and set(counts) == set(shares)
    for kind, share in shares.items():
        assert abs(counts[kind] / len(many) - share) < 4 * (share / len(many)) ** 0.5


def test_votes_follow_the_truth_but_not_slavishly(many):
    kinds = np.array([kind for kind, _ in many])
    columns = votes.delivered_columns("1_and_2")
    normal = votes.normalise(pa.table({name: [row[name] for _, row in many] for name in columns}), "1_and_2")

    def share(question: str, answer: str) -> np.ndarray:
        return np.nan_to_num(votes.fraction(normal, question, answer, 5))

    merger = share("merging", "merger") + share("merging", "both") >= 0.4
    assert 0.6 < merger[kinds == "merger"].mean() < 0.98 and merger[kinds != "merger"].mean() < 0.02
    spiral = (share("smooth-or-featured", "featured-or-disk") > 0.8) & (share("has-spiral-arms", "yes") > 0.8)
    round_ = (share("smooth-or-featured", "smooth") > 0.8) & (share("how-rounded", "completely") > 0.8)
    edge_on = share("disk-edge-on", "yes") > 0.8
    for members, kind in ((spiral, "spiral"), (round_, "round"), (edge_on, "edge_on")):
        assert 0.5 < members[kinds == kind].mean() < 0.95 and np.mean(kinds[members] == kind) > 0.9
    artefact = np.isin(kinds, list(ARTEFACTS))
    assert share("smooth-or-featured", "artifact")[artefact].mean() > 0.5
    assert share("smooth-or-featured", "artifact")[~artefact].mean() < 0.05
