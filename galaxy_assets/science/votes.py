"""The Galaxy Zoo DECaLS decision tree and what is derived from volunteers' votes.

Belongs here: the questions of each campaign, the normal form of a volunteer table, cuts on vote fractions, evaluation
classes and the probability of an anomaly. Does not belong here: reading the delivered files (`surveys.readers`) and
choosing the cuts (each survey's YAML).

A vote fraction says nothing where nobody was asked, and the two campaigns code that differently: campaign 1_and_2
writes 0.0, campaign 5 leaves the cell empty. `normalise` makes both null, and every function here treats null as "not
asked".
"""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_assets.surveys.model import Anomaly, Cut, Evaluation

log = logging.getLogger(__name__)


class VotesError(ValueError):
    """A volunteer table, or a question to it, that cannot be used; the message names the columns and the remedy."""


@dataclass(frozen=True)
class Question:
    """One question of the decision tree.

    `parents` are the (question, answer) pairs that lead here, several where branches meet again; the root has none.
    """

    name: str
    answers: tuple[str, ...]
    parents: tuple[tuple[str, str], ...] = ()

    @property
    def total_column(self) -> str:
        return f"{self.name}_total-votes"


_SMOOTH = ("smooth-or-featured", "smooth")
_FEATURED = ("smooth-or-featured", "featured-or-disk")
_FACE_ON = ("disk-edge-on", "no")
_SPIRAL = ("has-spiral-arms", "yes")

TREES: dict[str, tuple[Question, ...]] = {
    "1_and_2": (
        Question("smooth-or-featured", ("smooth", "featured-or-disk", "artifact")),
        Question("how-rounded", ("completely", "in-between", "cigar-shaped"), (_SMOOTH,)),
        Question("disk-edge-on", ("yes", "no"), (_FEATURED,)),
        Question("edge-on-bulge", ("rounded", "boxy", "none"), (("disk-edge-on", "yes"),)),
        Question("bar", ("yes", "no"), (_FACE_ON,)),
        Question("has-spiral-arms", ("yes", "no"), (_FACE_ON,)),
        Question("spiral-winding", ("tight", "medium", "loose"), (_SPIRAL,)),
        Question("spiral-arm-count", ("1", "2", "3", "4", "more-than-4"), (_SPIRAL,)),
        Question("bulge-size", ("none", "obvious", "dominant"), (_FACE_ON,)),
        Question("merging", ("merger", "tidal-debris", "both", "neither"), (_SMOOTH, _FEATURED)),
    ),
    "5": (
        Question("smooth-or-featured", ("smooth", "featured-or-disk", "artifact")),
        Question("disk-edge-on", ("yes", "no"), (_FEATURED,)),
        Question("has-spiral-arms", ("yes", "no"), (_FACE_ON,)),
        Question("bar", ("strong", "weak", "no"), (_FACE_ON,)),
        Question("bulge-size", ("dominant", "large", "moderate", "small", "none"), (_FACE_ON,)),
        Question("how-rounded", ("round", "in-between", "cigar-shaped"), (_SMOOTH,)),
        Question("edge-on-bulge", ("boxy", "none", "rounded"), (("disk-edge-on", "yes"),)),
        Question("spiral-winding", ("tight", "medium", "loose"), (_SPIRAL,)),
        Question("spiral-arm-count", ("1", "2", "3", "4", "more-than-4", "cant-tell"), (_SPIRAL,)),
        Question("merging", ("none", "minor-disturbance", "major-disturbance", "merger"), (_SMOOTH, _FEATURED)),
    ),
}
"""The decision trees by campaign; questions and answers in the order of the delivered columns (Walmsley et al. 2022)"""


def delivered_columns(campaign: str) -> list[str]:
    """Names of the columns a volunteer table of `campaign` must have: `iauname`, then counts and fractions."""
    names = ["iauname"]
    for question in TREES[campaign]:
        names.append(question.total_column)
        for answer in question.answers:
            names += [f"{question.name}_{answer}", f"{question.name}_{answer}_fraction"]
    return names


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    """A column as float64, NaN for null."""
    column = table[name]
    try:
        values = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise VotesError(f"volunteer table: column {name!r} holds values that are not numbers: {error}") from error
    # 0.8 stored in single precision is 0.80000001, so 4 of 5 votes would pass a cut of "> 0.8"
    return np.round(values, 6) if pa.types.is_float32(column.type) else values


def _counts(table: pa.Table, name: str) -> np.ndarray:
    values = np.nan_to_num(_numbers(table, name))
    if np.any((values < 0) | (values != np.rint(values)) | (values > np.iinfo(np.int32).max)):
        raise VotesError(f"volunteer table: column {name!r} holds values that are not numbers of votes")
    return values.astype(np.int32)


def normalise(table: pa.Table, campaign: str) -> pa.Table:
    """The volunteer table in normal form, one row per galaxy in delivered order.

    Columns: `galaxy_id` (string), `total_votes` (int32, of the root question), and for each question
    `{question}_total-votes` (int32), `{question}_{answer}` (int32) and `{question}_{answer}_fraction` (float64, taken
    from the file, null wherever the question has no votes). Of repeated galaxies the first row is kept; they and rows
    without `iauname` are counted in the log.

    Raises VotesError, which names the columns, if columns are missing or hold something else than votes.
    """
    missing = [name for name in delivered_columns(campaign) if name not in table.column_names]
    if missing:
        raise VotesError(
            f"volunteer table of campaign {campaign} has no column {', '.join(missing)}; "
            "download the table again, or correct `source.campaign`"
        )
    names = table["iauname"].cast(pa.string())
    repeated, nameless = pd.Series(names.to_pylist(), dtype=object).duplicated().to_numpy(), names.is_null().to_numpy()
    if np.any(repeated & ~nameless):
        log.warning("volunteer table: dropped %d repeated rows, keeping the first", np.sum(repeated & ~nameless))
    if np.any(nameless):
        log.warning("volunteer table: dropped %d rows without iauname", np.sum(nameless))
    table = table.filter(pa.array(~repeated & ~nameless))

    tree = TREES[campaign]
    columns: dict[str, pa.Array | pa.ChunkedArray | np.ndarray] = {
        "galaxy_id": table["iauname"].cast(pa.string()),
        "total_votes": _counts(table, tree[0].total_column),
    }
    for question in tree:
        total = columns[question.total_column] = _counts(table, question.total_column)
        for answer in question.answers:
            column = f"{question.name}_{answer}"
            share = _numbers(table, f"{column}_fraction")
            columns[column] = _counts(table, column)
            columns[f"{column}_fraction"] = pa.array(share, mask=(total == 0) | np.isnan(share))
    return pa.table(columns)


def empty(campaign: str) -> pa.Table:
    """The normal form of a volunteer table without rows, for surveys without volunteers."""
    columns = {name: pa.array([], pa.float64()) for name in delivered_columns(campaign)}
    return normalise(pa.table(columns | {"iauname": pa.array([], pa.string())}), campaign)


def fraction(table: pa.Table, question: str, answer: str, minimum_votes: int) -> np.ndarray:
    """Vote fraction of `answer` among those who answered `question`, float64 (N,) in 0 to 1.

    NaN where the question has fewer than `minimum_votes` votes. `table` is in normal form. Raises VotesError if the
    campaign has no such question or answer.
    """
    total, share = f"{question}_total-votes", f"{question}_{answer}_fraction"
    for column in (total, share):
        if column not in table.column_names:
            known = [name.removesuffix("_fraction") for name in table.column_names if name.endswith("_fraction")]
            raise VotesError(f"no answer {question}_{answer} in this volunteer table; it has {', '.join(known)}")
    values = table[share].cast(pa.float64()).to_numpy()
    return np.where(table[total].to_numpy() >= minimum_votes, values, np.nan)


def passes(table: pa.Table, cut: Cut) -> np.ndarray:
    """Which galaxies satisfy `cut`, bool (N,); never one whose question has fewer than `cut.minimum_votes` votes."""
    values = fraction(table, cut.question, cut.answer, cut.minimum_votes)
    kept = np.isfinite(values)
    if cut.above is not None:
        kept &= values > cut.above
    if cut.below is not None:
        kept &= values < cut.below
    return kept


def evaluation_class(table: pa.Table, evaluation: Evaluation) -> pa.Table:
    """Galaxies of the evaluation subset and their class (paper 5.1).

    `table` is a volunteer table in normal form, or, where the classes are defined by labels, any table with `galaxy_id`
    and `label`. A member passes all cuts of one class and all of `evaluation.reject`. The paper does not say what
    happens to a galaxy that satisfies two classes; a contrived problem that should be easy has no use for it, so it is
    left out and counted in the log. No sampling is done here.

    Returns a table with `galaxy_id` and `evaluation_class` (string), members only, in the order of `table`.
    """
    allowed = np.ones(len(table), dtype=bool)
    for cut in evaluation.reject:
        allowed &= passes(table, cut)
    members = np.zeros((len(evaluation.classes), len(table)), dtype=bool)
    for row, wanted in zip(members, evaluation.classes, strict=True):
        row[:] = allowed
        for cut in wanted.cuts:
            row &= passes(table, cut)
        if wanted.labels:
            row &= pc.is_in(table["label"], value_set=pa.array(wanted.labels, pa.string())).to_numpy()
    claims = members.sum(axis=0)
    if np.any(claims > 1):
        log.info("evaluation subset: left out %d galaxies that satisfy more than one class", np.sum(claims > 1))
    (chosen,) = np.nonzero(claims == 1)
    names = np.array([wanted.name for wanted in evaluation.classes], dtype=object)
    classes = names[members[:, chosen].argmax(axis=0)] if len(chosen) else []
    return pa.table(
        {"galaxy_id": table["galaxy_id"].take(pa.array(chosen)), "evaluation_class": pa.array(classes, pa.string())}
    )


def anomaly_probability(table: pa.Table, anomaly: Anomaly) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the anomaly by the volunteers, and whether a galaxy counts as a true one (paper 7.1).

    The probability is the sum of the fractions of `anomaly.answers`; a true anomaly has at least
    `anomaly.truth_threshold` of at least `anomaly.minimum_votes` votes.

    Returns (probability, is_true): float64 (N,), NaN where nobody was asked, and bool (N,). Raises VotesError if
    `anomaly` names no question and answers of this table.
    """
    if anomaly.question is None or not anomaly.answers:
        raise VotesError(f"anomaly {anomaly.name!r} names no question and answers; set both in the survey's YAML")
    shares = [fraction(table, anomaly.question, answer, 1) for answer in anomaly.answers]
    # 6/35 + 8/35 falls below 0.4 in floating point, though 14 of 35 volunteers are exactly 0.4
    probability = np.round(np.sum(shares, axis=0), 9)
    total = table[f"{anomaly.question}_total-votes"].to_numpy()
    return probability, (probability >= anomaly.truth_threshold) & (total >= anomaly.minimum_votes)


def score(probability: np.ndarray | float) -> np.ndarray:
    """Score 0 to 5 that the simulated volunteer gives: five times the probability, halves to even (paper 7.1).

    int64, the shape of `probability`. Raises ValueError outside 0 to 1 and for NaN: the caller decides what a galaxy
    that nobody was asked about is worth.
    """
    values = np.asarray(probability, dtype=np.float64)
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError("probabilities must lie in 0 to 1; choose a value for galaxies that nobody was asked about")
    return np.rint(5 * values).astype(np.int64)
