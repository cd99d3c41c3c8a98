"""The numbers behind the paper's figures, from tables that other steps finished.

Belongs here: summaries and choices of rows that only a figure needs, each by a stated rule. Does not belong here:
results of their own (the modules beside this one), drawing (`figures`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from galaxy_assets.science.checked_settings import found as of_setting
from galaxy_assets.science.checked_settings import setting
from galaxy_assets.science.checklist import checklist
from galaxy_assets.settings.survey import Survey

LEAST_LABELLED = 10  # labelled members from which a cluster's purity means anything
PICKED = 5  # clusters in each of Figures 4 and 5


def accuracy_by_epoch(accuracies: pa.Table, starts: Sequence[str]) -> pa.Table:
    """Mean and standard deviation of the accuracy over the splits, by start weights, features and epoch (paper 5).

    Parameters
    ----------
    accuracies : pyarrow.Table
        init, epoch, features, split, accuracy. Accuracies that are null or NaN are left out.
    starts : sequence of str
        Start weights to keep, in the order of the result.

    Returns
    -------
    pyarrow.Table
        init, epoch (int32), features, mean and std (float64; of the splits themselves: no n - 1), n (int32, splits).
    """
    groups: dict[tuple[str, str, int], list[float]] = {}
    columns = (accuracies[c].to_pylist() for c in ("init", "features", "epoch", "accuracy"))
    for init, features, epoch, accuracy in zip(*columns, strict=True):
        if init in starts and accuracy is not None and np.isfinite(accuracy):
            groups.setdefault((init, features, epoch), []).append(accuracy)
    order = sorted(groups, key=lambda key: (list(starts).index(key[0]), *key[1:]))
    return pa.table(
        {
            "init": pa.array([init for init, _, _ in order], pa.string()),
            "epoch": pa.array([epoch for _, _, epoch in order], pa.int32()),
            "features": pa.array([features for _, features, _ in order], pa.string()),
            "mean": pa.array([float(np.mean(groups[key])) for key in order], pa.float64()),
            "std": pa.array([float(np.std(groups[key])) for key in order], pa.float64()),
            "n": pa.array([len(groups[key]) for key in order], pa.int32()),
        }
    )


def in_words(number: float | None, form: str = ".1%") -> str:
    """A number of a caption.

    Parameters
    ----------
    number : float or None
    form : str
        As `format` takes it; a share in per cent when not given.

    Returns
    -------
    str
        `unknown` where it is none.

    Examples
    --------
    >>> from galaxy_assets.science.figure_tables import in_words
    >>> in_words(0.875), in_words(float("nan")), in_words(None), in_words(1.5, ".2f")
    ('87.5%', 'unknown', 'unknown', '1.50')
    """
    return "unknown" if number is None or np.isnan(number) else format(number, form)


def sample(ids: Sequence[str], n: int, seed: int) -> list[str]:
    """Up to n of the ids at random, the same ones in whatever order they are given.

    Parameters
    ----------
    ids : sequence of str
    n : int
    seed : int

    Returns
    -------
    list of str
    """
    return np.random.default_rng(seed).permutation(np.array(sorted(ids), dtype=object))[:n].tolist()


class Picked(NamedTuple):
    """Clusters by how clear they are.

    Attributes
    ----------
    clearest, hardest : list of int
        Numbers of clusters, the clearest and the hardest first.
    measure : str
        What ordered them: `purity` or `membership probability`.
    value : dict of int to float
        That measure of each cluster.
    """

    clearest: list[int]
    hardest: list[int]
    measure: str
    value: dict[int, float]


def pick_clusters(summary: pa.Table, cluster: np.ndarray, probability: np.ndarray) -> Picked:
    """Which clusters Figures 4 and 5 show; the paper's authors picked theirs by eye.

    Artefact clusters and empty ones take no part. Where at least two clusters have ten labelled members, clusters are
    ordered by purity, the majority class's share among their labelled members; elsewhere by their members' mean
    membership probability. The five clearest are the first five of that order and the five hardest the last five, or
    the halves of it where there are fewer than ten. Ties go by the cluster's number.

    Parameters
    ----------
    summary : pyarrow.Table
        `cluster_summary` of one start.
    cluster : ndarray of shape (N,), int
        Of each galaxy.
    probability : ndarray of shape (N,), float
        Of membership in that cluster.

    Returns
    -------
    Picked
    """
    rows = [row for row in summary.to_pylist() if row["n"] and not row["artefact"]]
    judged = [row for row in rows if row["n_labelled"] >= LEAST_LABELLED]
    if len(judged) >= 2:
        measure, value = "purity", {row["cluster"]: row["purity"] for row in judged}
    else:
        measure = "membership probability"
        value = {row["cluster"]: float(probability[cluster == row["cluster"]].mean()) for row in rows}
    order = sorted(value, key=lambda k: (-value[k], k))
    clear, hard = min(PICKED, (len(order) + 1) // 2), min(PICKED, len(order) // 2)
    return Picked(order[:clear], order[len(order) - hard :][::-1], measure, value)


def queries_shown(events: pa.Table, per_round: int) -> list[dict]:
    """The first galaxies of each round by falling acquisition, seeds in the order they were shown (paper Figure 10).

    Parameters
    ----------
    events : pyarrow.Table
        `oracle_events`.
    per_round : int
        Galaxies of each round.

    Returns
    -------
    list of dict
        round, position (from 1), galaxy_id, score, acquisition.
    """
    rounds: dict[int, list[dict]] = {}
    for row in events.sort_by("event").to_pylist():
        rounds.setdefault(row["round"], []).append(row)
    shown = []
    for r in sorted(rounds):
        best = sorted(rounds[r], key=lambda row: -np.inf if row["acquisition"] is None else -row["acquisition"])
        for position, row in enumerate(best[:per_round], 1):
            shown.append({k: row[k] for k in ("round", "galaxy_id", "score", "acquisition")} | {"position": position})
    return shown


def recipe(survey: Survey) -> list[dict]:
    """Table 1 and the paper's other settings beside this survey's.

    The paper's values are the checklist's. It trains MiraBest otherwise (section 8); other surveys are compared with
    Table 1.

    Parameters
    ----------
    survey : Survey

    Returns
    -------
    list of dict
        setting, section, paper, survey, agrees.
    """
    radio = survey.source.reader == "mirabest"
    rows = [
        ("Network architecture", "Table 1", "P3:network"),
        ("Epochs", "8.1", "M2:epochs") if radio else ("Epochs", "Table 1", "B1:epochs"),
        ("Learning rate", "Table 1", "B1:learning_rate"),
        ("Batch size", "8.1", "M2:batch_size") if radio else ("Batch size", "Table 1", "B1:batch_size"),
        ("Target decay", "Table 1", "B3"),
        ("Neurons in projection layer", "Table 1", "B1:projection"),
        ("Cutout", "8.1", "M2:framing") if radio else ("Cutout", "2.1", "P1:method"),
        ("Threshold above the sky, standard deviations", "2.1", "P1"),
        ("Enlargement of the box", "2.1", "P2:box"),
        ("Side of the cutout, pixels", "2.1", "P2:size"),
        ("Blur, probability", "4.1", "B2:blur"),
        ("Horizontal and vertical flip, probability", "4.1", "B2:flip"),
        ("Resized crop, smallest", "4.1", "B2:crop_minimum"),
        ("Resized crop, probability", "4.1", "B2:crop"),
        ("Rotation either way, degrees", "4.1", "B2:rotation_maximum"),
        ("Rotation, probability", "4.1", "B2:rotation"),
        ("Variance kept by the PCA", "4.2", "B5:variance"),
        ("UMAP neighbours", "3.2", "P4:neighbours"),
        ("UMAP least distance", "3.2", "P4:distance"),
        ("k-NN neighbours", "5.1", "E5:neighbours"),
        ("k-NN splits", "5.1", "E5:splits"),
        ("k-NN test share", "5.1", "E5:test"),
        ("Mixture components", "6.1", "C1:components"),
        ("Mixture weight concentration prior", "6.1", "C1:prior"),
        ("Mixture starts", "6.1", "C1:starts"),
        ("Mixture iterations, at most", "6.1", "C1:iterations"),
        ("Seed sample of the search", "7.1", "A4"),
        ("Labels per query", "7.1", "A5:per_round"),
        ("Labels in all", "7.1", "A5:budget"),
        ("Trade-off of expected improvement", "7.1", "A5:trade_off"),
        ("Neighbours of a similarity search", "7.2", "S1"),
    ]
    # settings of a contour mean nothing to the other methods
    without = () if survey.cutout.method == "sigma_clip" and not radio else ("P1", "P2:box", "P2:size")
    checks, found = {check.id: check for check in checklist()}, []
    for name, section, check_id in rows:
        check = checks[check_id]
        if check_id in without:
            continue
        if check_id == "P1" and survey.cutout.threshold == "astronomaly":
            value = 1
        else:
            (value,) = setting(survey, check.setting or "")
        found.append((name, section, check.expected, value))
    by_adam = of_setting(checks["B1:trainer"], survey).is_papers
    found.insert(2, ("Optimiser", "Table 1", "Adam", "Adam" if by_adam else f"of {survey.recipe.trainer}"))
    return [
        {
            "setting": name,
            "section": section,
            "paper": _words(paper),
            "survey": _words(value),
            "agrees": paper == value,
        }
        for name, section, paper, value in found
    ]


def _words(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"
