"""What figures show is chosen by the stated rules: galaxy_assets.science.figure_tables."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.science.figure_tables import accuracy_by_epoch, pick_clusters, queries_shown, recipe, sample
from galaxy_assets.settings.files import survey_files


def summary(rows: list[tuple[int, int, int, float, bool]]) -> pa.Table:
    names = ("cluster", "n", "n_labelled", "purity", "artefact")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])


def test_accuracy_is_mean_and_spread_of_the_splits_in_the_order_of_the_starts():
    rows = [("b", 1, 0.5), ("b", 1, 0.7), ("a", 0, 0.2), ("c", 0, 0.9), ("b", 0, 0.1), ("b", 0, None)]
    table = pa.Table.from_pylist([{"init": i, "epoch": e, "features": "byol", "accuracy": a} for i, e, a in rows])
    found = accuracy_by_epoch(table, ["b", "a"]).to_pylist()
    assert [(r["init"], r["epoch"], r["n"]) for r in found] == [("b", 0, 1), ("b", 1, 2), ("a", 0, 1)]
    assert (found[1]["mean"], found[1]["std"]) == pytest.approx((0.6, 0.1))


def test_clearest_and_hardest_are_ends_of_the_purity_without_artefacts_or_few_labels():
    rows = [(k, 50, 20, 0.40 + 0.05 * k, False) for k in range(12)]
    rows[11] = (11, 50, 20, 0.95, True)  # artefacts
    rows[10] = (10, 50, 3, 1.0, False)  # three labelled members
    rows[9] = (9, 0, 0, float("nan"), False)  # empty
    picked = pick_clusters(summary(rows), np.repeat(np.arange(12), 50), np.ones(600))
    assert picked.measure == "purity"
    assert picked.clearest == [8, 7, 6, 5, 4] and picked.hardest == [0, 1, 2, 3]


def test_without_labels_the_membership_probability_decides():
    cluster = np.repeat([0, 1, 2], 4)
    probability = np.repeat([0.6, 0.9, 0.7], 4)
    picked = pick_clusters(summary([(k, 4, 0, float("nan"), False) for k in range(3)]), cluster, probability)
    assert picked.measure == "membership probability"
    assert picked.clearest == [1, 2] and picked.hardest == [0]
    assert picked.value[2] == pytest.approx(0.7)


@given(st.lists(st.sampled_from([0.3, 0.5, 0.9]), max_size=14))
def test_no_cluster_is_clear_and_hard(purities: list[float]):
    rows = [(k, 20, 20, p, False) for k, p in enumerate(purities)]
    cluster = np.repeat(np.arange(len(rows)), 20)
    picked = pick_clusters(summary(rows) if rows else summary([(0, 0, 0, 0.0, False)]), cluster, np.ones(len(cluster)))
    assert not set(picked.clearest) & set(picked.hardest)
    assert len(picked.clearest) + len(picked.hardest) == min(len(purities), 10)
    if picked.hardest:
        assert min(picked.value[k] for k in picked.clearest) >= max(picked.value[k] for k in picked.hardest)


def test_queries_show_the_best_acquisition_first_and_seeds_as_they_came():
    events = [(0, 0, None), (1, 0, None), (2, 1, 0.1), (3, 1, 0.9), (4, 1, 0.5)]
    table = pa.Table.from_pylist(
        [{"event": e, "round": r, "galaxy_id": f"g{e}", "score": e, "acquisition": a} for e, r, a in events[::-1]]
    )
    shown = [(row["round"], row["position"], row["galaxy_id"]) for row in queries_shown(table, 2)]
    assert shown == [(0, 1, "g0"), (0, 2, "g1"), (1, 1, "g3"), (1, 2, "g4")]


@given(st.permutations(list("abcdefgh")), st.integers(0, 9))
def test_sample_does_not_depend_on_the_order_of_delivery(ids: list[str], n: int):
    chosen = sample(ids, n, seed=3)
    assert chosen == sample(sorted(ids), n, seed=3)
    assert len(chosen) == len(set(chosen)) == min(n, 8)


def test_the_papers_own_survey_agrees_with_its_table():
    surveys = survey_files(Path("/nonexistent")).known
    rows = recipe(surveys["gz_decals"])
    assert [row["setting"] for row in rows if not row["agrees"]] == []
    assert [row["paper"] for row in rows[:7]] == ["resnet18", "20", "Adam", "0.0001", "128", "0.99", "100"]
    other = surveys["gz_decals"].recipe.model_copy(update={"trainer": "theirs"})
    rows = recipe(surveys["gz_decals"].model_copy(update={"recipe": other}))
    assert [row["survey"] for row in rows if not row["agrees"]] == ["of theirs"], "its optimiser is not known"
    radio = {row["setting"]: row for row in recipe(surveys["mirabest"])}
    assert (radio["Epochs"]["paper"], radio["Batch size"]["paper"]) == ("50", "32")
    assert radio["Epochs"]["agrees"] and radio["Cutout"]["agrees"]
