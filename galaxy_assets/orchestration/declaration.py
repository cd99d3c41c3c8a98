"""How an asset of a survey is declared: everything that belongs to it, beside its function, once.

    @survey_asset("6_structure", paper="6.1", by="init", reads=["embeddings"], settings=lambda s: [s.mixture])
    def cluster_model(context: SurveyContext, embeddings: pa.Table) -> Result:
        "The mixture, a row per component."

Belongs here: what is the same for every asset. Does not belong here: any asset (`assets`), the files people edit
(`external`), the checks (`checks`). An asset's function knows no Dagster but for the values it shows: it reads its
context and tables and returns a `Result`.
"""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration import course
from galaxy_assets.orchestration.columns import described, schema_of
from galaxy_assets.orchestration.external import FILES, External, Reader, states
from galaxy_assets.orchestration.interrupted import stopped_for_good
from galaxy_assets.orchestration.partitions import Partitioned, partition_of, partitions
from galaxy_assets.orchestration.resources import KEYS, Keys, Lake
from galaxy_assets.settings.base import Settings
from galaxy_assets.settings.survey import Survey
from galaxy_assets.settings.tuning import with_choice
from galaxy_assets.storage.checkpoints import Training
from galaxy_assets.storage.in_turn import TablesInTurn
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.owners import LONGEST_RUN
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.provenance import as_read, made_by, with_origin, written_beside
from galaxy_assets.storage.tables import digest
from galaxy_assets.storage.trials import TRIALS, as_chosen

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

Step = Literal[
    "1_delivery",
    "2_cutouts",
    "3_artefacts",
    "4_representation",
    "5_evaluation",
    "6_structure",
    "7_discovery",
    "8_results",
    "9_figures",
]
Job = Literal["training", "refit"]
Trigger = Literal["at_once", "daily"]

# an executor or launcher reads only its own key; elsewhere these tags are inert and the pool alone holds GPU work
GPU_TAGS = {
    "dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
    "dagster-ray/config": {"num_gpus": 1},
}
RUN_TAGS = {"dagster/max_runtime": str(LONGEST_RUN)}
"""Of every run of a survey's assets."""
GPU_RUN_TAGS = {name: json.dumps(value) for name, value in GPU_TAGS.items()}
"""GPU_TAGS for a run in which an asset takes a GPU: launchers read the tags of runs, and not of ops."""

EVERY_BATCH = {"every_batch": True}
"""Of an input, for an asset per start weights that reads an asset per batch: it reads all batches."""

MAIN_START = {"main_start": True}
"""Of an input that is made per start weights: the survey's main ones alone are read."""

ONE_START = {"one_start": True}
"""Beside MAIN_START, for an asset per batch that reads an asset per start weights."""

FITTED_ON = {"pinned": "refit"}
"""Of an input of a model: what it is fitted on. New data does not make it outdated, until a refit is asked for."""

TRAINED_ON = {"pinned": "retrain"}
"""The same for what is trained, until a retraining is asked for."""

IN_TURN = {"in_turn": True}
"""Of an input that the function can read file by file: it is given `TablesInTurn`."""

SHOWN = {"shown": True}
"""Of an input that is only looked at: a blocking check of it stops nothing here, a person should see what is wrong."""

OWN_BATCH = {"own_batch": True}
"""Of an input without partitions, for an asset per batch: the rows of its batch alone are read, and no other rows make
the asset outdated. What makes that input returns `Result(by_batch=True)`."""

IF_THERE = {"allow_missing": True}
"""Of an input of which partitions that were never made are left out."""


@dataclass(frozen=True)
class SurveyContext:
    """What an asset's function is given beside its tables.

    Attributes
    ----------
    survey : Survey
        The survey that the asset is of; of an asset that is `tuned`, with what trials chose in place of `auto`.
    known : mapping of str to Survey
        All surveys by name, for start weights taken from another.
    layout : Layout
        Paths below the data folder.
    batch, init : str
        The delivery and the start weights of the partition; empty where the asset has none.
    log : Dagster's log manager
    beside : list of Path
        Files that the function wrote beside its table; where one is missing, the asset is outdated.
    """

    survey: Survey
    known: Mapping[str, Survey]
    layout: Layout
    batch: str
    init: str
    log: Any
    beside: list[Path] = field(default_factory=list)

    @property
    def pixels(self) -> PixelStore:
        """The survey's stored cutouts."""
        return PixelStore(self.layout.pixels(self.survey.name))

    def link(self, path: Path) -> dg.MetadataValue:
        """A file or folder for the UI, relative to the data folder: other machines have that elsewhere."""
        return dg.MetadataValue.path(self.layout.named(path))

    def training(self, fingerprint: str) -> Training:
        """The files of the training of these start weights that has this fingerprint."""
        return Training(self.layout.checkpoints(self.survey.name) / self.init / fingerprint)


@dataclass(frozen=True)
class Result:
    """What an asset's function returns.

    Attributes
    ----------
    table : pyarrow.Table
    metadata : mapping
        What the UI shows. Numbers that are not finite are left out: the UI could not plot them.
    unversioned : sequence of str
        Columns (wall-clock times) that do not enter the data version: a re-run that finds the same must not make
        everything after it outdated.
    decides : pyarrow.Table, optional
        The part of the table that decides what is made of it, where the rest may change without a consequence.
    by_batch : bool
        The table is sorted by its column `batch`, and is read with OWN_BATCH.
    measured : mapping of str to float
        What was measured of how the table was made: kept in its footer, where a check reads it, and shown in the UI.
    """

    table: pa.Table
    metadata: Mapping[str, Any] = field(default_factory=dict)
    unversioned: Sequence[str] = ()
    decides: pa.Table | None = None
    by_batch: bool = False
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def data_version(self) -> str:
        """Digest of what decides, else of the table without its unversioned columns."""
        return digest(self.table.drop_columns(list(self.unversioned)) if self.decides is None else self.decides)

    @property
    def data_version_by_batch(self) -> dict[str, str]:
        """The digest of each batch's rows; nothing of a table that is not read batch by batch."""
        batches = self.table["batch"].to_pylist() if self.by_batch else []
        starts = [i for i, batch in enumerate(batches) if i == 0 or batch != batches[i - 1]]
        ends = [*starts[1:], len(batches)]
        return {batches[i]: digest(self.table[i:end]) for i, end in zip(starts, ends, strict=False)}

    def shown(self) -> dict[str, Any]:
        """The metadata as Dagster takes it."""
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in {**self.metadata, **self.measured}.items()}
        return {k: v for k, v in plain.items() if not isinstance(v, float) or np.isfinite(v)}


@dataclass(frozen=True)
class SurveyAsset:
    """An asset that every survey has, as `survey_asset` declares it; `of` makes it one survey's.

    Attributes
    ----------
    function : callable
        Takes a SurveyContext and the tables it reads by name, and returns a Result. Its name is the asset's, its
        docstring the description.
    step : Step
        The step of the paper, which with the survey's name is the group in the UI.
    paper : str
        Section of Mohale & Lochner (2023).
    by : Partitioned
        What its partitions are: deliveries, start weights, or both.
    reads : mapping of str to mapping
        Assets of the same survey by name, and how each is read: EVERY_BATCH, MAIN_START, ONE_START, FITTED_ON,
        TRAINED_ON, IN_TURN, OWN_BATCH, IF_THERE, `only`, added up by `|`.
    files : tuple of External
        What it reads that is no table of its survey. A change of it makes the asset outdated.
    settings : callable
        What of the survey decides the content: hashed into the code version, so that the asset is outdated when the
        survey's YAML changes in just these.
    columns : mapping of str to str or (str, str)
        What each column holds, and its unit.
    tuned : bool
        It goes by settings that a survey may leave to trials: where one does, it reads `recipe_trials` too, and its
        context has the survey with their choice.
    version : str
        Raise it when the function's code changes what it returns.
    """

    function: Callable[..., Result]
    step: Step
    paper: str
    by: Partitioned
    reads: Mapping[str, Mapping[str, Any]]
    files: tuple[External, ...]
    settings: Callable[[Survey], Sequence[Any]]
    columns: Mapping[str, Any]
    kinds: tuple[str, ...]
    gpu: bool
    retry: bool
    freshness: dg.FreshnessPolicy | None
    job: Job | None
    trigger: Trigger
    explorer: int | None
    tuned: bool
    version: str

    @property
    def name(self) -> str:
        """The asset's name, the last part of its key."""
        return self.function.__name__

    @property
    def fits(self) -> bool:
        """Whether it is fitted or trained: it is then made anew when asked for, and not for being absent."""
        return any("pinned" in how for how in self.reads.values())

    def code_version(self, survey: Survey) -> str:
        """The version of the code, and the fingerprint of the survey's settings that decide the content.

        What is left to trials has its default there, chosen or not: their choice is a table that the asset reads.
        """
        chosen_later = ["auto"] if self.tuned and survey.auto else []
        decided_by = [*self.settings(with_choice(survey, {})), *chosen_later]
        fingerprint = "-".join(s.fingerprint() if isinstance(s, Settings) else str(s) for s in decided_by)
        return f"{self.version}-{fingerprint}" if fingerprint else self.version

    def of(
        self, survey: Survey, known: Mapping[str, Survey], prefix: Sequence[str] = (), keys: Keys = KEYS
    ) -> dg.AssetsDefinition:
        """Make the asset of one survey.

        Parameters
        ----------
        survey : Survey
        known : mapping of str to Survey
            All surveys by name, for start weights taken from another.
        prefix : sequence of str
            What the key begins with: it is [*prefix, survey, name].
        keys : Keys
            Of the resources of its data folder.

        Returns
        -------
        dagster.AssetsDefinition
        """
        home = [*prefix, survey.name]
        trials = {TRIALS: {}} if self.tuned and survey.auto else {}
        how = {name: _of_survey(meta, survey) for name, meta in ({**self.reads, **trials}).items()}
        return dg.asset(
            key=dg.AssetKey([*home, self.name]),
            group_name=f"{survey.name}_{self.step}",
            description=self._description(),
            partitions_def=partitions(survey, self.by),
            ins={
                name: dg.AssetIn(key=dg.AssetKey([*home, name]), metadata=meta, partition_mapping=_mapping(meta))
                for name, meta in how.items()
            },
            deps=[dep for file in self.files for dep in file.deps(survey, known, prefix, self.by)],
            code_version=self.code_version(survey),
            io_manager_key=keys.tables,
            required_resource_keys={keys.lake},
            kinds={*self.kinds, *(["pytorch"] if self.gpu else [])},
            pool="gpu" if self.gpu else None,
            op_tags=GPU_TAGS if self.gpu else None,
            # a step process killed by the kernel is started again and resumes from its last whole epoch
            retry_policy=dg.RetryPolicy(max_retries=1, delay=5) if self.retry else None,
            metadata=self._facts(),
            tags={"survey": survey.name},
            owners=[survey.owner or f"team:{survey.name}"],
            freshness_policy=self.freshness,
        )(self._compute(survey, known, keys))

    def _facts(self) -> dict[str, Any]:
        """What the graph says of the asset whether or not it was made: its columns and the files it reads."""
        columns = {"dagster/column_schema": schema_of(self.columns)} if self.columns else {}
        return columns | ({FILES: ", ".join(file.name for file in self.files)} if self.files else {})

    def _description(self) -> str:
        return f"{inspect.cleandoc(self.function.__doc__ or '')}\n\nMohale & Lochner (2023), section {self.paper}."

    def _compute(self, survey: Survey, known: Mapping[str, Survey], keys: Keys) -> Callable[..., dg.MaterializeResult]:
        """The function as Dagster calls it: it is given its context, and its table carries what it was made from."""
        code = self.code_version(survey)

        def compute(context: dg.AssetExecutionContext, **inputs: Any):
            lake: Lake = getattr(context.resources, keys.lake)
            read = {
                name: (value, value.versions) if isinstance(value, TablesInTurn) else as_read(value)
                for name, value in inputs.items()
            }
            batch, init = partition_of(context, self.by)
            versions = {name: versions for name, (_, versions) in read.items()}
            tables = {name: table for name, (table, _) in read.items()}
            in_force = as_chosen(survey, tables.pop(TRIALS)) if TRIALS in tables else survey
            at = SurveyContext(in_force, known, lake.layout, batch, init, context.log)
            # asked before the function reads, so that what changes meanwhile shows as a change
            files = states(self.files, Reader(survey, known, lake.layout, batch, init))
            with course.making(self.name, context.partition_key if context.has_partition_key else None):
                made = self.function(at, **tables)
            data = made.data_version
            origin = made_by(code, versions, files, data, written_beside(at.beside, lake.layout.root))
            origin = replace(origin, by_batch=made.data_version_by_batch, measured=dict(made.measured))
            table = with_origin(described(made.table, self.columns), origin)
            schema = {"dagster/row_count": table.num_rows, "dagster/column_schema": schema_of(self.columns, table)}
            return dg.MaterializeResult(
                value=table, data_version=dg.DataVersion(data), metadata={**schema, **made.shown()}
            )

        compute.__name__ = self.name
        return stopped_for_good(compute) if self.retry else compute


def survey_asset(
    step: Step,
    *,
    paper: str,
    by: Partitioned = None,
    reads: Mapping[str, Mapping[str, Any]] | Iterable[str] = (),
    files: Sequence[External] = (),
    settings: Callable[[Survey], Sequence[Any]] = lambda survey: (),
    columns: Mapping[str, Any] | None = None,
    kinds: Sequence[str] = ("parquet",),
    gpu: bool = False,
    retry: bool = False,
    freshness: dg.FreshnessPolicy | None = None,
    job: Job | None = None,
    trigger: Trigger | None = None,
    explorer: int | None = None,
    tuned: bool = False,
    version: str = "1",
) -> Callable[[Callable[..., Result]], SurveyAsset]:
    """Declare the decorated function as an asset of its name; what is not said here is in `SurveyAsset`.

    Parameters
    ----------
    gpu : bool
        It runs on a GPU where there is one, one such step at a time.
    retry : bool
        A step whose process was killed is started once more; it resumes.
    freshness : dagster.FreshnessPolicy, optional
        How old the asset may become, shown in the UI.
    job : {"training", "refit"}, optional
        The job that a person starts in the UI to make it anew.
    trigger : {"at_once", "daily"}, optional
        When it is made by itself after a delivery: as soon as all it reads is there, or once a night. At once where it
        is made per batch and where such an asset reads it, else daily, unless said.
    explorer : int, optional
        For a table with one row per galaxy: its columns can be shown and filtered by in the explorer. Of columns with
        one name that of the lowest number is kept.
    """
    read = dict(reads) if isinstance(reads, Mapping) else {name: {} for name in reads}
    at_once: Trigger = "at_once" if by in ("batch", "batch_init") else "daily"

    def declare(function: Callable[..., Result]) -> SurveyAsset:
        return SurveyAsset(
            function=function,
            step=step,
            paper=paper,
            by=by,
            reads=read,
            files=tuple(files),
            settings=settings,
            columns=columns or {},
            kinds=tuple(kinds),
            gpu=gpu,
            retry=retry,
            freshness=freshness,
            job=job,
            trigger=trigger or at_once,
            explorer=explorer,
            tuned=tuned,
            version=version,
        )

    return declare


def _of_survey(how: Mapping[str, Any], survey: Survey) -> dict[str, Any]:
    """How an input is read, with the start weights by name."""
    named = {name: value for name, value in how.items() if name != "main_start"}
    return named | {"init": survey.main_start_weights} if how.get("main_start") else named


def _mapping(how: Mapping[str, Any]) -> dg.PartitionMapping | None:
    """Which partitions of an input are read; None where Dagster's own rule is meant."""
    if how.get("every_batch"):
        return dg.AllPartitionMapping()
    return dg.SpecificPartitionsPartitionMapping([how["init"]]) if how.get("one_start") else None


def picture(context: SurveyContext, image: "Figure | Image", *name: str) -> dict[str, dg.MetadataValue]:
    """Save a figure as PNG in the survey's figures.

    Parameters
    ----------
    context : SurveyContext
    image : matplotlib Figure or PIL Image
    *name : str
        Folders and the file's name.

    Returns
    -------
    dict of str to dagster.MetadataValue
        Shows it small in the UI.
    """
    from galaxy_assets.figures.preview import preview
    from galaxy_assets.storage.figures import save

    path = save(image, context.layout.figure(context.survey.name, *name))
    context.beside.append(path)
    return {"preview": dg.MetadataValue.md(preview(image)), "figure": context.link(path)}
