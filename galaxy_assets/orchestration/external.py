"""What an asset reads that no asset makes: deliveries, the files people edit, weights, another survey's checkpoint.

Each of EXTERNAL is an observable source asset, so that the lineage shows what a ranking rests on; and an asset that
names one in its declaration is outdated when that file changes.

Belongs here: what there is of these, where it lies, and the fingerprint by which a change is seen. Does not belong
here: reading it (`assets`).
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pyarrow as pa

from galaxy_assets.deliveries.readers import reader_in_place
from galaxy_assets.orchestration.partitions import Partitioned
from galaxy_assets.orchestration.resources import KEYS, Keys
from galaxy_assets.science.labels import ORACLE
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import DamagedFile, state_of
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import readable_origin
from galaxy_assets.storage.tables import read_table
from galaxy_assets.storage.versions import fingerprint


class Reader(NamedTuple):
    """Who reads: a partition of an asset of the survey, over a data folder.

    Attributes
    ----------
    survey : Survey
    known : mapping of str to Survey
        All surveys by name.
    layout : Layout
        The data folder.
    batch, init : str
        Empty where the asset has none.
    seen : dict
        What was found that is the same for all partitions of the survey; given to many readers it is looked at once.
    """

    survey: Survey
    known: Mapping[str, Survey]
    layout: Layout
    batch: str = ""
    init: str = ""
    seen: dict[str, Any] | None = None

    def once(self, name: str, find: Callable[[], Any]) -> Any:
        """What `find` returns, which depends on the survey alone."""
        seen = {} if self.seen is None else self.seen
        if name not in seen:
            seen[name] = find()
        return seen[name]


State = Callable[[Reader], Mapping[str, str]]
"""Name in the record of what a table was made from -> fingerprint, as a reader finds it."""


@dataclass(frozen=True)
class External:
    """Something outside the lake that assets read.

    Attributes
    ----------
    name : str
        Last part of its key, after the survey's name.
    description : str
        What it is and where it lies; `{survey}` is the survey's name.
    state : callable
        Its fingerprint as a partition reads it (`State`). Empty where a change is known in another way.
    """

    name: str
    description: str
    state: State

    def key(self, survey: Survey, prefix: Sequence[str] = ()) -> dg.AssetKey:
        """Its key in the asset graph.

        Parameters
        ----------
        survey : Survey
        prefix : sequence of str
            What the key begins with, before the survey's name.

        Returns
        -------
        dagster.AssetKey
        """
        return dg.AssetKey([*prefix, survey.name, self.name])

    def deps(
        self, survey: Survey, known: Mapping[str, Survey], prefix: Sequence[str], by: Partitioned
    ) -> list[dg.AssetDep]:
        """What an asset of the survey that reads it depends on.

        Parameters
        ----------
        survey : Survey
        known : mapping of str to Survey
            All surveys by name.
        prefix : sequence of str
            What the keys begin with, before the survey's name.
        by : Partitioned
            What that asset's partitions are: without start weights of its own it reads the main ones.

        Returns
        -------
        list of dagster.AssetDep
        """
        if self is SCORED_GALAXIES:  # of tables that the asset reads
            return []
        if self is not OTHER_CHECKPOINTS:
            return [dg.AssetDep(self.key(survey, prefix))]
        starts = survey.start_weights if by in ("init", "batch_init") else [survey.main_start_weights]
        return [
            dg.AssetDep(
                dg.AssetKey([*prefix, start, self.name]),
                partition_mapping=dg.SpecificPartitionsPartitionMapping([known[start].main_start_weights]),
            )
            for start in starts
            if start in known
        ]

    def source(self, survey: Survey, prefix: Sequence[str] = (), keys: Keys = KEYS) -> dg.SourceAsset:
        """Make an observable source asset of the survey: observing it records its fingerprint.

        Parameters
        ----------
        survey : Survey
        prefix : sequence of str
            What the key begins with, before the survey's name.
        keys : Keys
            Of the resources of its data folder.

        Returns
        -------
        dagster.SourceAsset
        """

        @dg.observable_source_asset(
            key=self.key(survey, prefix),
            description=self.description.format(survey=survey.name),
            group_name=f"{survey.name}_0_files",
            required_resource_keys={keys.lake},
            tags={"survey": survey.name},
        )
        def observed(context) -> dg.DataVersion:
            return dg.DataVersion(self.observe(survey, getattr(context.resources, keys.lake).layout))

        return observed

    def observe(self, survey: Survey, layout: Layout) -> str:
        """Fingerprint of all of it, whatever partition reads it.

        Parameters
        ----------
        survey : Survey
        layout : Layout
            The data folder.

        Returns
        -------
        str
        """
        found = list(self.state(Reader(survey, {}, layout)).values())
        # a version is a tag in Dagster's records, and there may be thousands of deliveries
        return (
            hashlib.sha256("-".join(found).encode()).hexdigest()[:16] if len(found) > 1 else "-".join(found) or "absent"
        )


def files_of(node: Any) -> list[External]:
    """The files that an asset of the graph reads, by its metadata.

    Parameters
    ----------
    node : node of Dagster's asset graph

    Returns
    -------
    list of External
    """
    return [BY_NAME[name] for name in node.metadata.get(FILES, "").split(", ") if name]


def states(files: Iterable[External], reader: Reader) -> dict[str, str]:
    """Fingerprints of files, as a partition reads them.

    Parameters
    ----------
    files : iterable of External
    reader : Reader
        The partition.

    Returns
    -------
    dict of str to str
        By name of the file.
    """
    return {name: value for file in files for name, value in file.state(reader).items()}


def _tables(reader: Reader) -> str:
    """Of the survey's tables of labels and votes; of none where its folder is not there."""

    def found() -> str:
        try:
            return fingerprint(sorted(reader_in_place(reader.survey.source, reader.layout.raw).tables()))
        except SurveyError:
            return fingerprint([])

    return reader.once("tables", found)


def _delivered(reader: Reader) -> dict[str, str]:
    """The snapshot of a delivery when it was last found whole.

    A delivery that is being changed, or broken, does not make its tables outdated before it is whole again.
    """
    path = reader.layout.table(reader.survey.name, "deliveries")

    def found() -> dict[str, str]:
        rows = read_table(path, ["delivery", "snapshot", "state"]).to_pylist() if path.exists() else []
        return {row["delivery"]: row["snapshot"] for row in rows if row["state"] == "whole"}

    whole = reader.once("deliveries", found)
    if not reader.batch:
        return whole
    return {"delivery": whole[reader.batch]} if reader.batch in whole else {}


def _checkpoint(reader: Reader) -> dict[str, str]:
    """The data version of the checkpoints that another survey trained; of a start that is no survey, nothing."""
    if (other := reader.known.get(reader.init or reader.survey.main_start_weights)) is None:
        return {}
    start = reader.layout.table(other.name, "byol_checkpoints", other.main_start_weights)
    made = reader.once(
        f"start {other.name}", lambda: readable_origin(start)
    )  # no survey depends on what becomes of another one's files
    return {f"{other.name}/byol_checkpoints": made.data if made is not None else ""}


def _scored(reader: Reader) -> dict[str, str]:
    """Which of the galaxies that people scored lie in each delivery that the model of the scores has not read.

    So a delivery whose galaxies were scored before it came makes the model learn from them.
    """
    layout, name, main = reader.layout, reader.survey.name, reader.survey.main_start_weights
    events = layout.table(name, "label_events")

    def found() -> dict[str, str]:
        model = readable_origin(layout.table(name, "anomaly_model"))
        try:
            state = state_of(events)
            said = _scored_by_people(events, state)
        except (DamagedFile, OSError):  # not there yet, or outdated itself
            return {}
        if model is None or not len(said):
            return {}
        scored, known = {}, model.inputs.get("pca_features", {})
        for path in sorted((layout.lake / name / "pca_features").glob(f"[!.]*/{main}.parquet")):
            if f"{path.parent.name}/{main}" not in known:
                with contextlib.suppress(DamagedFile, OSError):  # what cannot be read is outdated itself
                    scored[path.parent.name] = _scored_in(path, state_of(path), events, state)
        return {f"scores of {batch}": ids for batch, ids in scored.items() if ids}

    return reader.once("scored", found)


@lru_cache(maxsize=20_000)
def _scored_in(features: Path, _: tuple[int, ...], events: Path, of_events: tuple[int, ...]) -> str:
    """Digest of the galaxies in a table of features that people scored; empty where there are none.

    Remembered as long as both files stay: the automation asks at every tick.
    """
    import pyarrow.compute as pc

    scored = _scored_by_people(events, of_events)
    ids = read_table(features, ["galaxy_id"])["galaxy_id"]
    own = sorted(ids.filter(pc.is_in(ids, value_set=scored.cast(ids.type))).to_pylist())
    return hashlib.sha256("\n".join(own).encode()).hexdigest()[:16] if own else ""


@lru_cache(maxsize=16)
def _scored_by_people(events: Path, _: tuple[int, ...]) -> pa.Array:
    import pyarrow.compute as pc

    table = read_table(events, ["galaxy_id", "kind", "source"])
    by_people = pc.and_(pc.equal(table["kind"], "score"), pc.not_equal(table["source"], ORACLE))
    return pc.unique(table["galaxy_id"].filter(by_people))


DELIVERY = External(
    "delivery",
    "The survey's deliveries: sub-folders, archives and loose images in its folder, each with the snapshot of when it "
    "was last found whole.",
    _delivered,
)
LABEL_TABLE = External(
    "label_table",
    "The table that gives each delivered image its class and position, as the survey delivers it.",
    lambda r: {"labels": _tables(r)},
)
VOTE_TABLE = External(
    "vote_table",
    "The survey's tables of labels and of volunteers' votes, read whole.",
    lambda r: {"tables": _tables(r)},
)
ARTEFACT_REVIEW = External(
    "artefact_review",
    "A person's review of the artefact regions, data/surveys/{survey}_artefacts.csv. Without it the proposed regions "
    "are in force.",
    lambda r: {"review": fingerprint([r.layout.artefact_review(r.survey.name)])},
)
CLUSTER_REVIEW = External(
    "cluster_review",
    "What a person says of the clusters, data/surveys/{survey}_clusters.csv. Without it the rules describe them.",
    lambda r: {"worksheet": fingerprint([r.layout.cluster_worksheet(r.survey.name)])},
)
LABEL_DROPS = External(
    "label_drops",
    "What people said of galaxies: label files dropped in data/labels/{survey}/, and scores given in the explorer and "
    "on the command line, as events.",
    lambda r: {"labels": LabelLog(r.layout.labels(r.survey.name)).fingerprint()},
)
WEIGHTS = External(
    "weights",
    "Weights that were fetched or put into data/weights by hand. A checkpoint's path names the weights that it began "
    "from, so that other weights are another training.",
    lambda r: {},
)
SCORED_GALAXIES = External(
    "scored_galaxies",
    "The galaxies that people scored and that have features, by delivery: new ones make the model of scores anew, "
    "which is else fitted to other features in a refit alone.",
    _scored,
)
OTHER_CHECKPOINTS = External("byol_checkpoints", "Another survey's checkpoints, as start weights.", _checkpoint)

EXTERNAL = (DELIVERY, LABEL_TABLE, VOTE_TABLE, ARTEFACT_REVIEW, CLUSTER_REVIEW, LABEL_DROPS, WEIGHTS)
"""Those that are source assets of every survey."""
BY_NAME = {external.name: external for external in (*EXTERNAL, OTHER_CHECKPOINTS, SCORED_GALAXIES)}
FILES = "reads files"
"""Key of the metadata in which an asset names them."""
