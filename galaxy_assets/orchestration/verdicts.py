"""How a check of an asset is declared, what it reads and what it answers.

Belongs here: the verdict, the stored tables a check reads, and the check as Dagster sees it. Does not belong here: any
check (`checks`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.orchestration.partitions import partition_of, partitions
from galaxy_assets.orchestration.resources import KEYS, Keys, Lake
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import DamagedFile, state_of
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import measured
from galaxy_assets.storage.tables import read_table


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes
    ----------
    passed : bool
    words : str
        What was found, and the remedy.
    stops : bool
        A failure after which the rest is nonsense.
    numbers : mapping of str to float
        Shown in the UI.
    """

    passed: bool
    words: str
    stops: bool = False
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """The stored tables of a survey, as a check of one partition reads them.

    Attributes
    ----------
    survey : Survey
    layout : Layout
        The data folder.
    batch, init : str
        Empty where the check is of the whole asset.
    readable : bool
        Leave out files that cannot be read, as long as another of the asset can be.
    """

    survey: Survey
    layout: Layout
    batch: str = ""
    init: str = ""
    readable: bool = False

    def __call__(self, asset: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The asset's table, or these columns of it: of the check's own partition, else all partitions that are there.

        Raises FileNotFoundError, which names what to materialise, where there is none, and DamagedFile.
        """
        by = ASSETS[asset].by
        batch = self.batch or "*" if by in ("batch", "batch_init") else None
        start = self.init or "*" if by in ("init", "batch_init") else None
        pattern = "/".join([asset, *filter(None, (batch, start))])
        paths = sorted((self.layout.lake / self.survey.name).glob(f"{pattern}.parquet"))
        tables, damaged = [], None
        for path in (path for path in paths if not path.name.startswith(".")):
            try:
                tables.append(_read(path, columns))
            except DamagedFile as error:
                if not self.readable:
                    raise
                damaged = error
        if not tables:
            raise damaged or FileNotFoundError(f"{self.survey.name}/{asset} was never made; materialise it first")
        return pa.concat_tables(tables, promote_options="permissive")

    def measured(self, asset: str) -> Mapping[str, float]:
        """What was measured when an asset without partitions was made; nothing where it was not made."""
        return measured(self.layout.table(self.survey.name, asset))


_SMALL, _REMEMBERED = 500, 20_000
_KNOWN: dict[tuple[Path, tuple[str, ...]], tuple[tuple[int, ...], pa.Table]] = {}


def _read(path: Path, columns: Sequence[str] | None) -> pa.Table:
    """A table, or columns of it; of a small one they are remembered as long as its file stays.

    Checks of a whole survey are asked after each of its deliveries, of which there may be thousands.
    """
    if columns is None:
        return read_table(path)
    key, state = (path, tuple(columns)), state_of(path)
    if key in _KNOWN and _KNOWN[key][0] == state:
        return _KNOWN[key][1]
    table = read_table(path, columns)
    if table.num_rows <= _SMALL and len(_KNOWN) < _REMEMBERED:
        _KNOWN[key] = state, table
    return table


@dataclass(frozen=True)
class SurveyCheck:
    """A check that every survey has of one asset; `of` makes it one survey's.

    Attributes
    ----------
    function : callable
        Takes `Stored` and returns a Verdict. Its name is the check's, its docstring says what passes.
    asset : str
        Name of the asset.
    whole : bool
        It is of all partitions together, and not of each.
    blocking : bool
        A verdict that `stops` stops what reads the asset.
    loud : bool
        A failure is an error that stops nothing, and `run` and `status` say it.
    """

    function: Callable[[Stored], Verdict]
    asset: str
    whole: bool
    blocking: bool
    loud: bool

    @property
    def name(self) -> str:
        """The check's name."""
        return self.function.__name__

    def of(self, survey: Survey, prefix: tuple[str, ...] = (), keys: Keys = KEYS) -> dg.AssetChecksDefinition:
        """Make the check of one survey's asset.

        Parameters
        ----------
        survey : Survey
        prefix : tuple of str
            What the asset's key begins with, before the survey's name.
        keys : Keys
            Of the resources of its data folder.

        Returns
        -------
        dagster.AssetChecksDefinition
        """
        key, by = dg.AssetKey([*prefix, survey.name, self.asset]), ASSETS[self.asset].by

        @dg.asset_check(
            asset=key,
            name=self.name,
            description=" ".join((self.function.__doc__ or "").split()),
            blocking=self.blocking,
            partitions_def=None if self.whole else partitions(survey, by),
            required_resource_keys={keys.lake},
        )
        def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
            lake: Lake = getattr(context.op_execution_context.resources, keys.lake)
            batch, init = ("", "") if self.whole else partition_of(context.op_execution_context, by)
            found = self.function(Stored(survey, lake.layout, batch, init))
            severity = dg.AssetCheckSeverity.ERROR if found.stops or self.loud else dg.AssetCheckSeverity.WARN
            return dg.AssetCheckResult(
                passed=found.passed, description=found.words, severity=severity, metadata=dict(found.numbers)
            )

        return check


CHECKS: list[SurveyCheck] = []
"""Every check that a survey has."""


def survey_check(
    asset: str, *, whole: bool = False, blocking: bool = False, loud: bool = False
) -> Callable[[Any], SurveyCheck]:
    """Declare the decorated function as a check of an asset; its docstring is the description in the UI.

    Parameters
    ----------
    asset : str
        Its name.
    whole : bool
        Check all partitions together.
    blocking : bool
        What follows waits for the check.
    loud : bool
        A failure is an error that stops nothing, and `run` and `status` say it.

    Returns
    -------
    callable
        Takes the function and returns its `SurveyCheck`.
    """

    def declare(function: Callable[[Stored], Verdict]) -> SurveyCheck:
        CHECKS.append(SurveyCheck(function, asset, whole, blocking, loud))
        return CHECKS[-1]

    return declare
