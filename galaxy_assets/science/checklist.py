"""The paper's numbers as a checklist.

Belongs here: reading `checklist.yaml`, which holds every number of Mohale & Lochner (2023). Does not belong here:
observing numbers (`observations`), verdicts (`results`), numbers that the paper does not have.
"""

import functools
import hashlib
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, model_validator

from galaxy_assets.settings.base import Settings

FILE = Path(__file__).with_suffix(".yaml")
IDS = tuple(
    f"{letter}{i}"
    for letter, n in {"D": 3, "P": 4, "B": 5, "E": 7, "C": 8, "A": 6, "S": 1, "M": 6, "T": 2}.items()
    for i in range(1, n + 1)
)
"""What the checklist must cover; an id with several numbers has rows `ID:suffix`."""


class Check(Settings):
    """One number of the paper, and where a survey's own number comes from: a setting, a table, or other rows."""

    id: str
    section: str
    surveys: tuple[str, ...] = Field(min_length=1, description="surveys the paper has this number for")
    description: str
    expected: float | str | tuple[str, ...] = Field(
        description="text is for settings that are no numbers, a list for those that are several words, in any order"
    )
    also: tuple[str, ...] = Field(default=(), description="other words of the setting that are the paper's too")
    tolerance: float = Field(default=0.0, ge=0, description="largest absolute difference that still agrees")
    reason: str = Field(default="", description="of the tolerance; counts and settings are exact and need none")
    setting: str | None = Field(
        default=None,
        description="dotted path in the survey's YAML; through a list to all its parts, or to the part of that name",
    )
    asset: str | None = Field(default=None, description="table to materialise where the number is missing")
    rows: tuple[str, ...] = Field(default=(), description="ids of settings, of which it is the number that agree")
    rests_on: tuple[str, ...] = Field(
        default=(), description="settings, or sections of them, that must be the paper's for the number to be compared"
    )
    parts: dict[str, int] = Field(default={}, description="what the number adds up")
    start: str | None = Field(default=None, description="start weights the number is for; {start} stands for each")
    same_as: str | None = Field(default=None, description="id under which the number is observed, where not `id`")
    decided_by: Literal["machine"] | None = Field(default=None, description="`machine`: never compared")
    note: str = Field(default="", description="what else the paper says, and where it contradicts itself")

    @model_validator(mode="after")
    def _one_origin(self) -> "Check":
        if sum(map(bool, (self.setting, self.asset, self.rows))) != 1:
            raise ValueError(f"{self.id} needs one of a setting, an asset and rows")
        if self.parts and sum(self.parts.values()) != self.expected:
            raise ValueError(f"{self.id}: its parts do not add up to {self.expected}")
        if bool(self.tolerance) != bool(self.reason):
            raise ValueError(f"{self.id}: a tolerance needs a reason, and a reason a tolerance")
        return self


@functools.cache
def checklist() -> tuple[Check, ...]:
    """Every number of the paper, in its order.

    Returns
    -------
    tuple of Check
    """
    return tuple(map(Check.model_validate, yaml.safe_load(FILE.read_text(encoding="utf-8"))))


def fingerprint() -> str:
    """What changes with any number of the checklist; `results` are made anew when it does.

    Returns
    -------
    str
        First 12 hex digits of the sha256 of the checklist.
    """
    return hashlib.sha256(FILE.read_bytes()).hexdigest()[:12]


def checklist_for(start_weights: tuple[str, ...]) -> list[Check]:
    """The checklist of a survey: a number for `{start}` is one row for each of its start weights.

    Parameters
    ----------
    start_weights : tuple of str
        Of the survey.

    Returns
    -------
    list of Check
    """
    rows = []
    for check in checklist():
        for start in start_weights if check.start == "{start}" else (check.start or "",):
            named = {name: getattr(check, name).replace("{start}", start) for name in ("id", "description")}
            rows.append(check.model_copy(update=named | {"start": start or None}))
    return rows
