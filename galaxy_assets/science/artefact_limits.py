"""From what value on a measure speaks against a cutout in this survey.

Belongs here: limits from the survey's own distribution, and which evidence is left under them. Does not belong here:
the measures, and what follows from them (`science.artefacts`).

What most of a survey's images show is what the survey is like: radio maps scaled to their brightest pixel are
saturated, skies set to zero are one grey value. Evidence of a fault is what few of them show.
"""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from galaxy_assets.settings.artefacts import LEAST, ArtefactRules

MOST = 0.5
"""Share of images above which what they show is no evidence."""

_FAR = 10
"""Distances of the upper quartile from the median at which a value is an outlier: 7 standard deviations of a normal
distribution. Where the logarithm has a deviation of 1, one value in a hundred lies beyond."""
_LEAST_SPREAD = 0.1  # of the median: where all images are alike, twice the median is an outlier
_MEASURES = {"blank": "blank_fraction", "saturated": "saturated_fraction", "edge_flux": "edge_flux_ratio"}
_MEASURES |= {"trail": "trail_length"}


def limits_of(evidence: pa.Table, rules: ArtefactRules) -> dict[str, float]:
    """The limits of a survey, from the images that its artefact map is fitted on.

    A limit that a person gives is taken as it is. One that is `auto` is that of `settings.artefacts.LEAST`, or ten
    times as far above the median as the upper quartile is and at least twice the median, whichever is greatest. Up to a
    quarter of artefacts do not move the quartile. A share f of pixels is compared as -log(1 - f), so
    that 0.99 and 0.999 differ by as much as 0.9 and 0.99.

    Parameters
    ----------
    evidence : pyarrow.Table
        The measures of LEAST as columns, as far as it has them (a lake of older code has none: LEAST holds there).
    rules : ArtefactRules

    Returns
    -------
    dict of str to float
        A limit for each measure of LEAST; infinite where no value is an outlier.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from galaxy_assets.science.artefact_limits import limits_of
    >>> from galaxy_assets.settings.artefacts import ArtefactRules
    >>> few, most = [0.0] * 98 + [0.3] * 2, [0.2, 0.3, 0.4] * 33
    >>> for shares in (few, most):
    ...     found = limits_of(pa.table({"saturated_fraction": shares}), ArtefactRules())
    ...     print(round(found["saturated_fraction"], 2))
    0.05
    0.85
    """
    found = {}
    for name in LEAST:
        found[name] = rules.least(name)
        if getattr(rules, name) == "auto" and name in evidence.column_names:
            values = evidence[name].to_numpy().astype(float)
            found[name] = max(found[name], _outlying(values[~np.isnan(values)], name.endswith("_fraction")))
    return found


def _outlying(values: np.ndarray, are_shares: bool) -> float:
    """From what value on a measure is an outlier among (N,) values; 0 where there is none."""
    if not values.size:
        return 0.0
    with np.errstate(divide="ignore"):
        scaled = -np.log1p(-values) if are_shares else values
    median, quartile = np.quantile(scaled, [0.5, 0.75], method="higher")
    limit = median + _FAR * max(quartile - median, _LEAST_SPREAD * median) if np.isfinite(quartile) else np.inf
    return float(-np.expm1(-limit)) if are_shares and np.isfinite(limit) else float(limit)


def under(evidence: pa.Table, limits: dict[str, float]) -> pa.Table:
    """The evidence that is left under a survey's limits.

    Parameters
    ----------
    evidence : pyarrow.Table
        Columns `suspect`, `reason` and the measures of LEAST (without them nothing changes), perhaps `blank`.
    limits : dict of str to float
        Answer of `limits_of`.

    Returns
    -------
    pyarrow.Table
        The same, but for reasons whose measure is below its limit, or whose limit is infinite, and what follows from
        them.
    """
    reasons = evidence["reason"].to_pylist()
    measured = {reason: name for reason, name in _MEASURES.items() if name in evidence.column_names}
    values = {reason: evidence[name].to_numpy() for reason, name in measured.items()}

    def left(row: int, reason: str) -> bool:
        if reason not in measured:
            return True
        limit = limits[measured[reason]]
        return np.isfinite(limit) and not values[reason][row] < limit

    kept = [said and ", ".join(one for one in said.split(", ") if left(i, one)) for i, said in enumerate(reasons)]
    new = {"reason": pa.array(kept, pa.string()), "suspect": pa.array([bool(said) for said in kept], pa.bool_())}
    if "blank" in evidence.column_names:
        gone = [
            "blank" in was.split(", ") and "blank" not in said.split(", ")
            for was, said in zip(reasons, kept, strict=True)
        ]
        blank = evidence["blank"].to_numpy(zero_copy_only=False) & ~np.array(gone, bool)
        new["blank"] = pa.array(blank, pa.bool_())
    for name, column in new.items():
        evidence = evidence.set_column(evidence.column_names.index(name), evidence.schema.field(name), column)
    return evidence


def shown_by_most(reason: Sequence[str]) -> dict[str, float]:
    """The reasons that most images have, which are no evidence: what most of them show is what the survey is like.

    Parameters
    ----------
    reason : sequence of str, length N
        Column of `artefacts.evidence`, under the survey's limits.

    Returns
    -------
    dict of str to float
        The share of the images that have it.
    """
    counted = Counter(one for said in reason for one in said.split(", ") if one)
    return {one: n / len(reason) for one, n in counted.items() if n > MOST * len(reason)}


def that_counts(reason: Sequence[str], of: Collection[str]) -> set[str]:
    """The reasons of these that count against an image: all but those that most images have.

    Parameters
    ----------
    reason : sequence of str, length N
        As `shown_by_most` takes it.
    of : collection of str
        The evidence that the survey counts.

    Returns
    -------
    set of str
    """
    return set(of) - shown_by_most(reason).keys()


def are_suspect(reason: Sequence[str], of: Collection[str]) -> np.ndarray:
    """Which images have evidence that counts against them.

    Parameters
    ----------
    reason : sequence of str, length N
        Column of `artefacts.evidence`, under the survey's limits.
    of : collection of str
        The evidence that the survey counts, such as `ArtefactRules.region_evidence`. What most images show does not.

    Returns
    -------
    ndarray of shape (N,), bool

    Examples
    --------
    >>> from galaxy_assets.science.artefact_limits import are_suspect
    >>> are_suspect(["nodata", "nodata, blank", "nodata", ""], ["nodata", "blank"]).tolist()
    [False, True, False, False]
    """
    counted = that_counts(reason, of)
    return np.array([not counted.isdisjoint(said.split(", ")) for said in reason], dtype=bool)
