"""What clusters contain: examples, majority classes, words, votes."""

import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.science import clusters, votes

CLUSTER = np.array([0] * 10 + [1] * 6 + [2] * 4)
LABELS = ["spiral"] * 9 + ["edge_on"] + ["edge_on"] * 3 + ["spiral"] * 2 + [None] + [None] * 4
SUSPECT = np.array([False] * 16 + [True] * 4)


def test_summaries_count_what_is_labelled_and_flag_artefacts_by_evidence():
    zero, one, two, empty = clusters.summarise(CLUSTER, LABELS, SUSPECT, 4, 0.5)
    assert (zero.n, zero.n_labelled, zero.majority_class, zero.purity) == (10, 10, "spiral", 0.9)
    assert (one.n, one.n_labelled, one.majority_class, one.purity) == (6, 5, "edge_on", 0.6)
    assert zero.description == "Almost entirely spiral"
    assert one.description == "Mostly edge on and some spiral"
    assert two.artefact and two.description == "Artefacts (100% suspect)" and two.majority_class is None
    assert (empty.n, empty.description) == (0, "Empty")


def test_majority_labels_get_nine_and_three_of_fifteen_right():
    assert clusters.majority_accuracy(CLUSTER, LABELS) == pytest.approx(12 / 15)
    assert np.isnan(clusters.majority_accuracy(CLUSTER, [None] * 20))


def test_examples_are_random_members_that_do_not_depend_on_row_order():
    ids = np.array([f"g{i:02d}" for i in range(20)])
    chosen = clusters.examples(CLUSTER, ids, 3, seed=1)
    assert {k: len(v) for k, v in chosen.items()} == {0: 3, 1: 3, 2: 3}
    assert all((CLUSTER[rows] == k).all() for k, rows in chosen.items())
    back = np.arange(20)[::-1]
    again = clusters.examples(CLUSTER[back], ids[back], 3, seed=1)
    assert {k: ids[v].tolist() for k, v in chosen.items()} == {k: ids[back][v].tolist() for k, v in again.items()}


def test_label_shares_average_to_the_share_of_the_label():
    shares = clusters.label_shares({"a": "x", "b": "x", "c": "y"}, {"a": 0, "b": 0, "c": 0, "d": 1})
    assert {(d.cluster, d.answer): d.fractions.mean() for d in shares} == {
        ("0", "x"): pytest.approx(2 / 3),
        ("all", "x"): pytest.approx(2 / 3),
        ("0", "y"): pytest.approx(1 / 3),
        ("all", "y"): pytest.approx(1 / 3),
    }


def voted(galaxies: dict[str, dict[str, tuple[int, float]]]) -> pa.Table:
    """A volunteer table of campaign 1_and_2: per galaxy the answers given as (votes for the question, fraction)."""
    columns: dict[str, list] = {name: [] for name in votes.delivered_columns("1_and_2")}
    for galaxy, answers in galaxies.items():
        row = dict.fromkeys(columns, 0.0) | {"iauname": galaxy}
        for answer, (total, fraction) in answers.items():
            row |= {f"{answer}_fraction": fraction, f"{answer.split('_')[0]}_total-votes": total}
        for name, value in row.items():
            columns[name].append(value)
    return votes.normalise(pa.table(columns), "1_and_2")


def test_vote_distributions_ask_for_ten_votes_and_a_parent_above_one_half():
    disc = {"smooth-or-featured_featured-or-disk": (30, 0.9)}
    table = voted(
        {
            "a": disc | {"disk-edge-on_yes": (12, 0.8), "merging_neither": (30, 0.7)},
            "b": disc | {"disk-edge-on_yes": (9, 0.6)},
            "c": {"smooth-or-featured_featured-or-disk": (30, 0.5), "disk-edge-on_yes": (15, 1.0)}
            | {"merging_neither": (30, 0.4)},
            "d": disc | {"disk-edge-on_yes": (20, 0.1)},
            "elsewhere": disc | {"disk-edge-on_yes": (20, 0.3)},
        }
    )
    found = clusters.vote_distributions(table, {"a": 0, "b": 0, "c": 0, "d": 1}, "1_and_2")
    fractions = {(d.cluster, d.question, d.answer): d.fractions.tolist() for d in found}
    # b has too few votes, c is not featured enough, the last is in no cluster
    assert fractions["all", "disk-edge-on", "yes"] == [0.8, 0.1]
    assert fractions["0", "disk-edge-on", "yes"] == [0.8] and fractions["1", "disk-edge-on", "yes"] == [0.1]
    # merging asks for "at least" one half
    assert fractions["0", "merging", "neither"] == [0.7, 0.4]
    assert fractions["0", "smooth-or-featured", "featured-or-disk"] == [0.9, 0.9, 0.5]
    panels = clusters.figure_7(found)
    rows = zip(*(panels[c].to_pylist() for c in ("cluster", "panel", "fraction")), strict=True)
    assert ("1", "disk-edge-on: yes", 0.1) in set(rows)
