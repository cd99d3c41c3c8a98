"""What is derived from volunteers' votes.

Belongs here: the normal form of a volunteer table, cuts on vote fractions, evaluation classes and the probability of an
anomaly. Does not belong here: the questions (`galaxy_zoo`), reading the delivered files (`deliveries.readers`) and
choosing the cuts (each survey's YAML).

A vote fraction says nothing where nobody was asked, and the campaigns code that differently: 1_and_2 and Galaxy Zoo 2
write 0.0, campaign 5 leaves the cell empty. `normalise` makes both null, and every function here treats null as "not
asked".
"""

import numpy as np
import pyarrow as pa

from galaxy_assets.science.galaxy_zoo import TREES, Question
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.settings.evaluation import Cut, Evaluation
from galaxy_assets.settings.printing import PrintableError, logger

log = logger(__name__)


class VotesError(PrintableError):
    """A volunteer table, or a question to it, that cannot be used; the message names the columns and the remedy."""


def delivered_columns(campaign: str) -> list[str]:
    """Names of the columns a volunteer table must have: the galaxy's id, then counts and fractions.

    Parameters
    ----------
    campaign : str
        For `gz2` the columns are those of Hart et al. (2016), `gz2_hart16.csv`, which SDSS's tables zoo2Main share.

    Returns
    -------
    list of str
    """
    if campaign == "gz2":
        stems = [stem for question in TREES["gz2"] for stem in question.delivered]
        return ["dr7objid", *(f"{stem}{end}" for stem in stems for end in ("_count", "_weighted_fraction"))]
    names = ["iauname"]
    for question in TREES[campaign]:
        names.append(question.total_column)
        for answer in question.answers:
            names += [f"{question.name}_{answer}", f"{question.name}_{answer}_fraction"]
    return names


def kaggle_columns() -> list[str]:
    """Names of the columns of Galaxy Zoo 2 as Kaggle has it (`training_solutions_rev1.csv`): id, Class1.1-Class11.6.

    Returns
    -------
    list of str
    """
    questions = enumerate(TREES["gz2"], start=1)
    return ["GalaxyID", *(f"Class{k}.{j + 1}" for k, question in questions for j in range(len(question.answers)))]


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
        raise VotesError(
            f"volunteer table: column {name!r} holds values that are not numbers of votes, such as {_worst(values):g}"
        )
    return values.astype(np.int32)


def _worst(counts: np.ndarray) -> float:
    return float(next(v for v in counts if v < 0 or v != np.rint(v) or v > np.iinfo(np.int32).max))


def normalise(table: pa.Table, campaign: str) -> pa.Table:
    """The volunteer table in normal form, one row per galaxy in delivered order.

    Of repeated galaxies the first row is kept; they and rows without an id are counted in the log. Galaxy Zoo 2's
    fractions are those weighted by the volunteers' consistency (`_weighted_fraction`), its counts are not. Kaggle's
    form of it gives no counts, which are null then (unknown), and multiplies every answer's fraction by the probability
    of having been asked; dividing by the sum over the question's answers undoes that.

    Parameters
    ----------
    table : pyarrow.Table
        As delivered.
    campaign : str

    Returns
    -------
    pyarrow.Table
        `galaxy_id` (string), `total_votes` (int32, of the root question), and for each question
        `{question}_total-votes` (int32), `{question}_{answer}` (int32) and `{question}_{answer}_fraction` (float64,
        from the file, null where the question has no votes).

    Raises
    ------
    VotesError
        Where columns are missing or hold something else than votes; the message names them.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from galaxy_assets.science.votes import delivered_columns, normalise
    >>> delivered = {name: ["J1"] if i == 0 else [0] for i, name in enumerate(delivered_columns("5"))}
    >>> delivered |= {"smooth-or-featured_total-votes": [4], "smooth-or-featured_smooth": [3]}
    >>> delivered |= {"smooth-or-featured_smooth_fraction": [0.75]}
    >>> table = normalise(pa.table(delivered), "5")
    >>> table["total_votes"].to_pylist(), table["smooth-or-featured_smooth_fraction"].to_pylist()
    ([4], [0.75])
    """
    import pandas as pd

    kaggle = campaign == "gz2" and "GalaxyID" in table.column_names
    wanted = kaggle_columns() if kaggle else delivered_columns(campaign)
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        raise VotesError(
            f"volunteer table of campaign {campaign} has no column {shown}; "
            "download the table again, or correct `source.campaign`"
        )
    names = table[wanted[0]].cast(pa.string())
    repeated, nameless = pd.Series(names.to_pylist(), dtype=object).duplicated().to_numpy(), names.is_null().to_numpy()
    if np.any(repeated & ~nameless):
        log.warning("volunteer table: dropped %d repeated rows, keeping the first", np.sum(repeated & ~nameless))
    if np.any(nameless):
        log.warning("volunteer table: dropped %d rows without %s", np.sum(nameless), wanted[0])
    table = table.filter(pa.array(~repeated & ~nameless))
    read = _of_kaggle if kaggle else _of_galaxy_zoo_2 if campaign == "gz2" else _of_decals
    columns: dict[str, pa.Array | pa.ChunkedArray | np.ndarray] = {}
    for number, question in enumerate(TREES[campaign], start=1):
        total, counts, shares = read(table, question, number)
        columns[question.total_column] = total
        asked = np.ones(len(table), bool) if kaggle else np.asarray(total) > 0
        for answer, count, share in zip(question.answers, counts, shares, strict=True):
            columns[f"{question.name}_{answer}"] = count
            columns[f"{question.name}_{answer}_fraction"] = pa.array(share, mask=~asked | np.isnan(share))
    return pa.table(
        {
            "galaxy_id": table[wanted[0]].cast(pa.string()),
            "total_votes": columns[TREES[campaign][0].total_column],
            **columns,
        }
    )


def _shares(table: pa.Table, name: str) -> np.ndarray:
    values = _numbers(table, name)
    wrong = np.flatnonzero((values < 0) | (values > 1 + 1e-6))
    if len(wrong):
        worst = values[wrong[0]]
        remedy = "leave the cell empty where nobody was asked" if worst < 0 else "divide percentages by 100"
        raise VotesError(
            f"volunteer table: column {name!r} holds {len(wrong)} values that are no fractions of 0 to 1, such as "
            f"{worst:g}; {remedy}"
        )
    return values


def _of_votes(shares: list[np.ndarray], counts: list, total: np.ndarray) -> list[np.ndarray]:
    """The fractions, and where the table gives none for votes that it counts, the counts over their total."""
    unsaid = np.isnan(shares) & (total > 0)
    if unsaid.any():
        log.warning("volunteer table: %d fractions are not given and follow from the votes", unsaid.sum())
    return list(np.where(unsaid, np.array(counts) / np.maximum(total, 1), shares))


def _of_decals(table: pa.Table, question: Question, number: int) -> tuple[np.ndarray, list, list[np.ndarray]]:
    """Total, counts and fractions of a question in Galaxy Zoo DECaLS's columns."""
    stems = [f"{question.name}_{answer}" for answer in question.answers]
    counts, total = [_counts(table, stem) for stem in stems], _counts(table, question.total_column)
    return total, counts, _of_votes([_shares(table, f"{stem}_fraction") for stem in stems], counts, total)


def _of_galaxy_zoo_2(table: pa.Table, question: Question, number: int) -> tuple[np.ndarray, list, list[np.ndarray]]:
    """The same in Galaxy Zoo 2's columns, which give no total."""
    counts = [_counts(table, f"{stem}_count") for stem in question.delivered]
    shares = [_shares(table, f"{stem}_weighted_fraction") for stem in question.delivered]
    return np.array(counts).sum(axis=0, dtype=np.int32), counts, shares


def _of_kaggle(table: pa.Table, question: Question, number: int) -> tuple[pa.Array, list, list[np.ndarray]]:
    """The same in Kaggle's columns, which give no counts."""
    columns = [f"Class{number}.{j + 1}" for j in range(len(question.answers))]
    products = np.array([_numbers(table, column) for column in columns])
    if np.any((products < 0) | (products > 1)):
        raise VotesError(f"volunteer table: {columns[0]} to {columns[-1]} hold values outside 0 to 1")
    unknown, reached = pa.nulls(len(table), pa.int32()), products.sum(axis=0)
    shares = np.divide(products, reached, out=np.full_like(products, np.nan), where=reached > 0)
    return unknown, [unknown] * len(columns), list(shares)


def empty(campaign: str) -> pa.Table:
    """The normal form of a volunteer table without rows, for surveys without volunteers.

    Parameters
    ----------
    campaign : str

    Returns
    -------
    pyarrow.Table
    """
    galaxy, *numbers = delivered_columns(campaign)
    columns = {name: pa.array([], pa.float64()) for name in numbers}
    return normalise(pa.table(columns | {galaxy: pa.array([], pa.string())}), campaign)


def fraction(table: pa.Table, question: str, answer: str, minimum_votes: int) -> np.ndarray:
    """Vote fraction of an answer among those who answered the question.

    Parameters
    ----------
    table : pyarrow.Table
        Volunteer table in normal form, N rows.
    question, answer : str
    minimum_votes : int
        A table without counts (Kaggle's) cannot tell, and no galaxy is left out.

    Returns
    -------
    ndarray of shape (N,), float64
        0 to 1; NaN where the question has fewer votes.

    Raises
    ------
    VotesError
        Where the campaign has no such question or answer.
    """
    total, share = f"{question}_total-votes", f"{question}_{answer}_fraction"
    for column in (total, share):
        if column not in table.column_names:
            known = [name.removesuffix("_fraction") for name in table.column_names if name.endswith("_fraction")]
            raise VotesError(f"no answer {question}_{answer} in this volunteer table; it has {', '.join(known)}")
    values = table[share].cast(pa.float64()).to_numpy()
    return np.where(_enough(table, total, minimum_votes), values, np.nan)


def _enough(table: pa.Table, total: str, minimum_votes: int) -> np.ndarray:
    votes = table[total].cast(pa.float64()).to_numpy()
    return np.isnan(votes) | (votes >= minimum_votes)


def passes(table: pa.Table, cut: Cut) -> np.ndarray:
    """Which galaxies satisfy a cut.

    Parameters
    ----------
    table : pyarrow.Table
        Volunteer table in normal form, N rows.
    cut : Cut

    Returns
    -------
    ndarray of shape (N,), bool
        False where the question has fewer than `cut.minimum_votes` votes.
    """
    values = fraction(table, cut.question, cut.answer, cut.minimum_votes)
    kept = np.isfinite(values)
    if cut.above is not None:
        kept &= values > cut.above
    if cut.below is not None:
        kept &= values < cut.below
    return kept


def evaluation_class(table: pa.Table, evaluation: Evaluation) -> pa.Table:
    """Galaxies of the evaluation subset and their class (paper 5.1).

    A member passes all cuts of one class and all of `evaluation.reject`. The paper does not say what happens to a
    galaxy that satisfies two classes; it is left out and counted in the log. No sampling is done here.

    Parameters
    ----------
    table : pyarrow.Table
        Volunteer table in normal form; where classes are defined by labels, with `label` too. Where nothing goes by
        votes any table with `galaxy_id` and `label`.
    evaluation : Evaluation
        Of the survey.

    Returns
    -------
    pyarrow.Table
        `galaxy_id` and `evaluation_class` (string), members only, in the order of `table`.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from galaxy_assets.science.votes import evaluation_class
    >>> from galaxy_assets.settings.evaluation import Evaluation, EvaluationClass
    >>> wanted = Evaluation(classes=(EvaluationClass(name="radio double", labels=("FR1", "FR2")),))
    >>> evaluation_class(pa.table({"galaxy_id": ["a", "b"], "label": ["FR2", "unsure"]}), wanted).to_pylist()
    [{'galaxy_id': 'a', 'evaluation_class': 'radio double'}]
    """
    import pyarrow.compute as pc

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


def beside_labels(catalogue: pa.Table, votes: pa.Table) -> pa.Table:
    """The votes on the galaxies of a catalogue beside their labels, for classes and cuts that go by both.

    Parameters
    ----------
    catalogue : pyarrow.Table
        N rows with `galaxy_id` and `label`.
    votes : pyarrow.Table
        Volunteer table in normal form.

    Returns
    -------
    pyarrow.Table
        N rows: `galaxy_id`, `label` and the columns of the votes, null where nobody was asked.
    """
    import pyarrow.compute as pc

    ids = votes["galaxy_id"].combine_chunks().cast(pa.string())
    found = votes.drop_columns(["galaxy_id"]).take(pc.index_in(catalogue["galaxy_id"].cast(pa.string()), ids))
    for i, name in enumerate(("galaxy_id", "label")):
        found = found.add_column(i, name, catalogue[name])
    return found


def anomaly_probability(table: pa.Table, anomaly: Anomaly) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the anomaly by the volunteers, and whether a galaxy counts as a true one (paper 7.1).

    Parameters
    ----------
    table : pyarrow.Table
        Volunteer table in normal form, N rows.
    anomaly : Anomaly
        The probability is the sum of the fractions of `answers`; a true anomaly has at least `truth_threshold` of at
        least `minimum_votes` votes.

    Returns
    -------
    probability : ndarray of shape (N,), float64
        NaN where nobody was asked.
    is_true : ndarray of shape (N,), bool

    Raises
    ------
    VotesError
        Where `anomaly` names no question and answers of this table.
    """
    if anomaly.question is None or not anomaly.answers:
        raise VotesError(f"anomaly {anomaly.name!r} names no question and answers; set both in the survey's YAML")
    shares = [fraction(table, anomaly.question, answer, 1) for answer in anomaly.answers]
    # 6/35 + 8/35 falls below 0.4 in floating point, though 14 of 35 volunteers are exactly 0.4
    # and fractions of three digits add up to 1.001
    probability = np.minimum(np.round(np.sum(shares, axis=0), 9), 1)
    enough = _enough(table, f"{anomaly.question}_total-votes", anomaly.minimum_votes)
    return probability, (probability >= anomaly.truth_threshold) & enough


def score(probability: np.ndarray | float) -> np.ndarray:
    """Score that the simulated volunteer gives: five times the probability, halves to even (paper 7.1).

    Parameters
    ----------
    probability : float or ndarray
        0 to 1.

    Returns
    -------
    ndarray of the same shape, int64
        0 to 5.

    Raises
    ------
    ValueError
        Outside 0 to 1 and for NaN: the caller chooses a value for a galaxy that nobody was asked about.

    Examples
    --------
    >>> from galaxy_assets.science.votes import score
    >>> score([0.0, 0.1, 0.4, 1.0]).tolist()
    [0, 0, 2, 5]
    """
    values = np.asarray(probability, dtype=np.float64)
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError("probabilities must lie in 0 to 1; choose a value for galaxies that nobody was asked about")
    return np.rint(5 * values).astype(np.int64)
