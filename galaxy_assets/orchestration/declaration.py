"""How an asset of a survey is declared: its key, group, partitions, inputs, versions, pool and metadata.

Belongs here: what is the same for every asset. Does not belong here: any asset.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.outside import outside
from galaxy_assets.settings.base import Settings
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.checkpoints import Training
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.provenance import as_read, made_by, with_origin
from galaxy_assets.storage.tables import TablesInTurn, digest

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
Partitioned = Literal["batch", "init", "batch_init"] | None

# a launcher reads only its own key; elsewhere these tags are inert and the pool alone holds GPU work to one at a time
GPU_TAGS = {
    "dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
    "dagster-ray/config": {"num_gpus": 1},
}


class Lake(dg.ConfigurableResource):
    """The data folder, as what assets need of it beside their tables: pixels, checkpoints, figures, deliveries."""

    root: str

    @property
    def layout(self) -> Layout:
        return Layout(Path(self.root))

    def pixels(self, survey: Survey) -> PixelStore:
        return PixelStore(self.layout.pixels(survey.name))

    def training(self, survey: Survey, init: str, fingerprint: str) -> Training:
        return Training(self.layout.checkpoints(survey.name) / init / fingerprint)


EVERY_BATCH = {"every_batch": True}
"""Input metadata for an asset per start weights that reads an asset per batch: it reads all batches."""

ONE_START = {"one_start": True}
"""For an asset per batch that reads an asset per start weights, beside {"init": NAME}: it reads that one alone."""

FITTED_ON = {"pinned": "refit"}
"""Input metadata for a model: what it is fitted on. New data does not make it outdated, until a refit is asked for."""

IN_TURN = {"in_turn": True}
"""For an input that the function can read file by file: it is given `TablesInTurn`."""

TRAINED_ON = {"pinned": "retrain"}
"""The same for what is trained, until a retraining is asked for."""


def partitions(survey: Survey, by: Partitioned) -> dg.PartitionsDefinition | None:
    """`batch`: what was delivered together (dynamic); `init`: the start weights (static)."""
    batch = dg.DynamicPartitionsDefinition(name=f"{survey.name}_batch")
    init = dg.StaticPartitionsDefinition(list(survey.start_weights))
    if by == "batch_init":
        return dg.MultiPartitionsDefinition({"batch": batch, "init": init})
    return {"batch": batch, "init": init, None: None}[by]


def survey_asset(
    survey: Survey,
    step: Step,
    *,
    paper: str,
    by: Partitioned = None,
    reads: Mapping[str, Mapping[str, Any]] | Iterable[str] = (),
    after: Sequence[dg.AssetDep | dg.AssetKey] = (),
    settings: Sequence[Settings | tuple | str | float] = (),
    kinds: Iterable[str] = ("parquet",),
    gpu: bool = False,
    checks: Mapping[str, str] | None = None,
    retry: bool = False,
    freshness: dg.FreshnessPolicy | None = None,
    version: str = "1",
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare the decorated function as the asset of its name, under the survey's key prefix.

    Parameters
    ----------
    step : the group, shared by all surveys; groups sort in the order of the paper.
    paper : section of Mohale & Lochner (2023), appended to the function's docstring as the description.
    by : partitions, see `partitions`.
    reads : inputs from the same survey by name, with metadata: {"init": NAME} and {"allow_missing": True} for the I/O
        manager, EVERY_BATCH, ONE_START, IN_TURN, FITTED_ON, TRAINED_ON.
    after : lineage without a table (pixels, another survey's checkpoints).
    settings : what of the survey decides the content; hashed into the code version, so that Dagster calls the asset
        outdated when the survey's YAML changes in just these.
    checks : name -> description of the checks the function reports in its result. The function must then carry no
        return annotation: Dagster 1.13 rejects a value annotated beside checks.
    freshness : how old the asset may become, shown in the UI.
    version : raise it when the function's code changes what it returns.
    """
    read = dict(reads) if isinstance(reads, Mapping) else {name: {} for name in reads}

    def declare(function: Callable[..., Any]) -> dg.AssetsDefinition:
        key = dg.AssetKey([survey.name, function.__name__])
        fingerprint = "-".join(s.fingerprint() if isinstance(s, Settings) else str(s) for s in settings)
        code = f"{version}-{fingerprint}" if fingerprint else version
        recorded = _with_origin(function, survey, code)
        return dg.asset(
            key=key,
            group_name=f"step_{step}",
            description=f"{(function.__doc__ or '').strip()}\n\nMohale & Lochner (2023), section {paper}.",
            partitions_def=partitions(survey, by),
            ins={
                name: dg.AssetIn(
                    key=dg.AssetKey([survey.name, name]),
                    metadata=meta,
                    partition_mapping=_mapping(meta),
                )
                for name, meta in read.items()
            },
            deps=list(after),
            code_version=code,
            kinds=set(kinds) | ({"pytorch"} if gpu else set()),
            pool="gpu" if gpu else None,
            op_tags=GPU_TAGS if gpu else None,
            check_specs=[dg.AssetCheckSpec(name, asset=key, description=text) for name, text in (checks or {}).items()],
            # a step process killed by the kernel is started again and resumes from its last whole epoch
            retry_policy=dg.RetryPolicy(max_retries=1, delay=5) if retry else None,
            tags={"survey": survey.name},
            owners=[survey.owner or f"team:{survey.name}"],
            freshness_policy=freshness,
        )(_stopped_for_good(recorded) if retry else recorded)

    return declare


def _mapping(how: Mapping[str, Any]) -> dg.PartitionMapping | None:
    """Which partitions of an input are read; None where Dagster's own rule is meant."""
    if how.get("every_batch"):
        return dg.AllPartitionMapping()
    return dg.SpecificPartitionsPartitionMapping([how["init"]]) if how.get("one_start") else None


def _with_origin(function: Callable[..., Any], survey: Survey, code: str) -> Callable[..., Any]:
    """Make the function's table carry what it was made from (`storage.provenance`)."""

    @functools.wraps(function)
    def asset(*arguments: Any, **inputs: Any) -> dg.MaterializeResult:
        tables = {name: as_read(value) for name, value in inputs.items() if isinstance(value, pa.Table)}
        tables |= {name: (value, value.versions) for name, value in inputs.items() if isinstance(value, TablesInTurn)}
        lake, context = inputs.get("lake"), arguments[0] if arguments else None
        # asked before the function reads, so that what changes meanwhile shows as a change
        partition = str(context.partition_key) if context is not None and context.has_partition_key else None
        files = outside(survey, function.__name__, partition, lake.layout) if lake is not None else {}
        made = function(*arguments, **inputs | {name: table for name, (table, _) in tables.items()})
        versions = {name: version for name, (_, version) in tables.items()}
        return made._replace(value=with_origin(made.value, made_by(code, versions, files, made.data_version.value)))

    return asset


def _stopped_for_good(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make Ctrl-C or a cancelled run final: Dagster would retry the step like after a crash, and the work go on."""

    @functools.wraps(function)
    def asset(*arguments: Any, **inputs: Any) -> Any:
        try:
            return function(*arguments, **inputs)
        except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as stop:
            raise dg.Failure(INTERRUPTED, allow_retries=False) from stop

    return asset


INTERRUPTED = "interrupted; run it again to go on from here"


def result(
    table: pa.Table,
    *,
    checks: Sequence[dg.AssetCheckResult] = (),
    metadata: Mapping[str, Any] | None = None,
    unversioned: Sequence[str] = (),
) -> dg.MaterializeResult:
    """A table as an asset's result: content digest as data version, row count and column schema as metadata.

    Columns `unversioned` (wall-clock times) do not enter the digest: a re-run that finds the same must not make
    everything after it outdated. Numbers that are not finite are left out of the metadata: the UI could not plot them.
    """
    columns = [dg.TableColumn(field.name, str(field.type)) for field in table.schema]
    shown = {
        name: value
        for name, value in (metadata or {}).items()
        if not (isinstance(value, float | np.floating) and not np.isfinite(value))
    }
    shown = {name: value.item() if isinstance(value, np.generic) else value for name, value in shown.items()}
    return dg.MaterializeResult(
        value=table,
        data_version=dg.DataVersion(digest(table.drop_columns(list(unversioned)))),
        metadata={
            "dagster/row_count": table.num_rows,
            "dagster/column_schema": dg.TableSchema(columns=columns),
            **shown,
        },
        check_results=list(checks),
    )


def check(name: str, passed: bool, description: str, *, warn: bool = False, **metadata: Any) -> dg.AssetCheckResult:
    """The result of a check reported by the asset itself; `warn` marks what a person should look at, not a failure."""
    severity = dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(
        check_name=name, passed=bool(passed), description=description, severity=severity, metadata=metadata
    )


def picture(lake: Lake, survey: Survey, image: "Figure | Image", *name: str) -> dict[str, dg.MetadataValue]:
    """Save a figure as PNG in the survey's figures and return metadata that shows it small in the UI."""
    from galaxy_assets.figures.preview import preview
    from galaxy_assets.storage.figures import save

    path = save(image, lake.layout.figure(survey.name, *name))
    return {"preview": dg.MetadataValue.md(preview(image)), "figure": dg.MetadataValue.path(str(path))}


def markdown(table: pa.Table) -> str:
    """A small table as Markdown, for metadata."""
    rows = ["| " + " | ".join(table.column_names) + " |", "|" + "---|" * table.num_columns]
    for row in table.to_pylist():
        cells = [f"{v:.2f}" if isinstance(v, float) else "" if v is None else str(v) for v in row.values()]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)
