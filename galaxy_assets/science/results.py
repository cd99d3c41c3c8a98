"""Every number of the paper beside the survey's own, with a verdict; and the numbers that only the survey has.

Belongs here: the verdict on each number. Does not belong here: the paper's numbers (`checklist`), reading the survey's
own off settings (`checked_settings`) and tables (`observations`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_assets.science.checked_settings import found, not_the_papers
from galaxy_assets.science.checklist import Check, checklist, checklist_for
from galaxy_assets.science.observations import START_WEIGHTS, Observed, observe
from galaxy_assets.settings.survey import Survey

SCHEMA = pa.schema(
    [
        ("check_id", pa.string()),
        ("description", pa.string()),
        ("expected", pa.float64()),
        ("observed", pa.float64()),
        ("tolerance", pa.float64()),
        ("verdict", pa.string()),
        ("note", pa.string()),
    ]
)
AGREES, DIFFERS, NOT_OBSERVED, NOT_COMPARABLE = "agrees", "differs", "not observed", "not comparable"
NOT_APPLICABLE = "not applicable to this survey"
VERDICTS = (DIFFERS, NOT_OBSERVED, NOT_COMPARABLE, AGREES, NOT_APPLICABLE)
"""In the order in which a reader wants them."""
_SHOWN = 3  # settings that are named where a number is not comparable; each has a row of its own


def compare(
    check: Check, observed: Observed | None, survey: Survey, other_weights: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """One row of `results`: a number of the checklist and its verdict on this survey, with the reason.

    Parameters
    ----------
    check : Check
    observed : Observed or None
        None where the survey's tables have no such number; what a setting is, is read here.
    survey : Survey
    other_weights : mapping of str to str, optional
        Start weights whose network was trained otherwise than the survey's settings say, and how.

    Returns
    -------
    dict
        The columns of SCHEMA.
    """
    if not check.asset:
        observed = _of_settings(check, survey)
    value = _number(observed)
    expected, unit = (check.expected, "") if isinstance(check.expected, float) else (1.0, " (1 yes, 0 no)")
    verdict, why = _verdict(check, observed, survey, other_weights or {})
    said = [why, observed.note if observed else "", check.note]
    if check.reason:
        said.append(f"tolerance: {check.reason}")
    return {
        "check_id": check.id,
        "description": check.description + unit,
        "expected": expected,
        "observed": value,
        "tolerance": check.tolerance,
        "verdict": verdict,
        "note": "; ".join(filter(None, said)),
    }


def _of_settings(check: Check, survey: Survey) -> Observed:
    """What a survey has for a row that rests on settings alone."""
    if check.setting:
        value, _, said = found(check, survey)
        return Observed(check.id, np.nan if value is None else value, note=said)
    rows = [found(row, survey) for row in checklist() if row.id in check.rows]
    others = ", ".join(row.said for row in rows if not row.is_papers)
    return Observed(check.id, sum(row.is_papers for row in rows), note=f"not the paper's: {others}" if others else "")


def _verdict(
    check: Check, observed: Observed | None, survey: Survey, other_weights: Mapping[str, str]
) -> tuple[str, str]:
    """The verdict, and its reason where the numbers alone do not say it."""
    value = _number(observed)
    if survey.name not in check.surveys:
        return NOT_APPLICABLE, f"the paper's number is for {' and '.join(check.surveys)}"
    if check.setting:
        return AGREES if found(check, survey).is_papers else DIFFERS, ""
    if observed is None or value is None:
        return NOT_OBSERVED, _remedy(check, survey)
    if why := _not_comparable(check, survey, other_weights):
        return NOT_COMPARABLE, why
    expected = check.expected if isinstance(check.expected, float) else 1.0
    if observed.lacks:
        return NOT_OBSERVED, observed.lacks
    return AGREES if abs(value - expected) <= check.tolerance else DIFFERS, ""


def _not_comparable(check: Check, survey: Survey, other_weights: Mapping[str, str]) -> str:
    """Why a number says nothing of the paper's; empty where it does."""
    if check.decided_by == "machine":
        return "the machine decides it"
    if check.start and check.start not in START_WEIGHTS:
        return "the paper has no such start weights"
    if others := not_the_papers(survey, check.rests_on):
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        return f"under other settings than the paper's: {', '.join(others[:_SHOWN])}{more}"
    of_network = other_weights if "recipe" in check.rests_on else {}
    return ", ".join(f"{init}: {why}" for init, why in of_network.items() if check.start in (None, init))


def _number(observed: Observed | None) -> float | None:
    """The value of what was observed, None where it could not be computed (nan)."""
    if observed is None or observed.value is None or np.isnan(observed.value):
        return None
    return float(observed.value)


def _remedy(check: Check, survey: Survey) -> str:
    """Why a number is missing and what brings it."""
    if check.start and check.start not in survey.start_weights:
        return f"{check.start} is not among the survey's start weights; add it to start_weights"
    partition = f", partition {check.start}" if check.start else ""
    return f"{check.asset} has no value for it; materialise {survey.name}/{check.asset}{partition}"


def results(survey: Survey, tables: Mapping[str, pa.Table], other_weights: Mapping[str, str] | None = None) -> pa.Table:
    """Make the table `results`: every number of the checklist in its order, then what else was measured.

    Parameters
    ----------
    survey : Survey
    tables : mapping of str to pyarrow.Table
        By asset name; those that are absent or empty leave numbers that are not observed.
    other_weights : mapping of str to str, optional
        Start weights whose network was trained otherwise than the survey's settings say, and how.

    Returns
    -------
    pyarrow.Table
        In SCHEMA.
    """
    observed = {o.check_id: o for o in observe(survey, tables)}
    checks = checklist_for(survey.start_weights)
    rows = [compare(check, observed.get(check.same_as or check.id), survey, other_weights) for check in checks]
    shown = {check.id for check in checks} | {c.same_as for c in checks if survey.name in c.surveys}
    for o in observed.values():
        if o.check_id not in shown:
            why = "the paper has no number for it"
            rows.append(
                {
                    "check_id": o.check_id,
                    "description": o.description,
                    "observed": _number(o),
                    "verdict": NOT_APPLICABLE,
                    "note": f"{why}; {o.note}" if o.note else why,
                }
            )
    return pa.Table.from_pylist(rows, schema=SCHEMA)
