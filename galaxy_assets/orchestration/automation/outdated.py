"""Which tables of the lake are not what they would be if they were made now.

Belongs here: the rule, over what each table's file says it was made from (`storage.provenance`). The main job, the
automation conditions and `galaxy-assets status` share it. Does not belong here: running anything.

A partition is outdated where its file, or a file written beside it (pixels, a checkpoint, a picture), is absent or
damaged; where the asset's code or settings are others; where something that it reads, a table of the survey or a file
(`external`), has other content. What a model was fitted or trained on is pinned: it makes the model outdated only where
other code or settings made it anew, or where a refit or retraining was asked for.

Dagster's own answer ("stale") is not used: it follows every new partition into every model, knows no files, and gives
up at a hundred partitions.
"""

import contextlib
import functools
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal, NamedTuple

import dagster as dg

from galaxy_assets.orchestration.checks import Stored, Verdict, stopped
from galaxy_assets.orchestration.external import External, Reader, files_of, states
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.footers import Footers, footers_of
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import NO_ROWS, Origin, Version
from galaxy_assets.storage.store import store_of

Follow = Literal["refit", "retrain"]
NEVER_MADE = "never made"
Partition = tuple[str, ...]
"""(), (batch,), (init,) or (batch, init), as in the lake."""


class Read(NamedTuple):
    """One input of an asset.

    Attributes
    ----------
    asset : dagster.AssetKey
        The asset read.
    how : dict
        Metadata of the input, see `declaration`.
    """

    asset: dg.AssetKey
    how: dict[str, Any]


@dataclass
class Outdated:
    """The rule over one survey at one moment.

    Attributes
    ----------
    graph : asset graph of Dagster
    survey : Survey
    known : mapping of str to Survey
        All surveys by name, for start weights taken from another.
    layout : Layout
        The data folder.
    batches : sequence of str
        The deliveries that are registered.
    follow : {"refit", "retrain"} or None
        Whose pinned inputs count: `retrain` refits too.
    """

    graph: Any
    survey: Survey
    known: Mapping[str, Survey]
    layout: Layout
    batches: Sequence[str]
    follow: Follow | None = None
    _declarations: dict[dg.AssetKey, "_Declared"] = field(default_factory=dict, init=False, repr=False)
    _versions: dict[tuple[str, str], tuple[Version, dict[str, str]] | None] = field(
        default_factory=dict, init=False, repr=False
    )
    _data: dict[str, dict[tuple[tuple[str, str], ...], dict[str, str]]] = field(
        default_factory=lambda: defaultdict(dict), init=False, repr=False
    )
    _seen: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _reasons: dict[tuple[dg.AssetKey, Partition], str | None] = field(default_factory=dict, init=False, repr=False)
    _verdicts: dict[tuple[str, str, str], Verdict] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Look at what is there now."""
        store_of(self.layout.root).refresh()

    def reason(self, asset: dg.AssetKey, partition: Partition) -> str | None:
        """Why a partition is to be made (again).

        Parameters
        ----------
        asset : dagster.AssetKey
        partition : tuple of str

        Returns
        -------
        str or None
            In words; None where it is up to date.
        """
        try:
            made = self._made(asset, partition)
        except DamagedFile:
            return "its file is damaged"
        if made is None:
            return NEVER_MADE
        if made.code != self._declared(asset).code:
            return "code or settings changed"
        if missing := next((path for path in made.beside if not os.path.exists(f"{self._root}{path}")), None):  # noqa: PTH110
            return f"{missing} is missing"
        for name, value in self.outside(asset, partition).items():
            if made.outside.get(name) != value:
                return f"{name} changed"
        for read in self._declared(asset).reads:
            if reason := self._changed(read, made, asset, partition):
                return reason
        return None

    def waits_for(self, asset: dg.AssetKey, partition: Partition) -> list[tuple[dg.AssetKey, Partition]]:
        """What a partition reads that is absent or outdated itself; of another survey, what is absent.

        Parameters
        ----------
        asset : dagster.AssetKey
        partition : tuple of str

        Returns
        -------
        list of (dagster.AssetKey, tuple of str)
        """
        others = self.outside(asset, partition).items()
        elsewhere: list[tuple[dg.AssetKey, Partition]] = [
            (dg.AssetKey([*asset.path[:-2], *name.split("/")]), ()) for name, found in others if not found
        ]
        return elsewhere + [
            (read.asset, part)
            for read in self._declared(asset).reads
            for part in self.read_partitions(read, asset, partition)
            if (reason := self.why(read.asset, part)) and not (read.how.get("allow_missing") and reason == NEVER_MADE)
        ]

    def fingerprint(self, asset: dg.AssetKey, partition: Partition) -> str:
        """Digest of all that a partition would be made from now.

        Parameters
        ----------
        asset : dagster.AssetKey
        partition : tuple of str

        Returns
        -------
        str
        """
        read = {
            read.asset.path[-1]: {"/".join(p): str(self._version(read.asset, "/".join(p), own)) for p in parts}
            for read in self._declared(asset).reads
            for parts, own in [(self.read_partitions(read, asset, partition), self._own(read, asset, partition))]
        }
        whole = json.dumps([self._declared(asset).code, read, self.outside(asset, partition)], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def why(self, asset: dg.AssetKey, partition: Partition) -> str | None:
        """The answer of `reason`, computed once.

        Parameters
        ----------
        asset : dagster.AssetKey
        partition : tuple of str

        Returns
        -------
        str or None
        """
        if (asset, partition) not in self._reasons:
            self._reasons[asset, partition] = self.reason(asset, partition)
        return self._reasons[asset, partition]

    def stopped(self, asset: dg.AssetKey, partition: Partition) -> str | None:
        """Why a partition is not to be made: a blocking check of something that it reads failed.

        Parameters
        ----------
        asset : dagster.AssetKey
        partition : tuple of str

        Returns
        -------
        str or None
            The words of the check; None where none failed.
        """
        for read in self._declared(asset).reads:
            if read.how.get("allow_missing") or read.how.get("shown"):
                continue
            for part in self.read_partitions(read, asset, partition):
                if why := self._stopped_by(read.asset, part):
                    return why
        return None

    def _stopped_by(self, asset: dg.AssetKey, partition: Partition) -> str | None:
        if self._version(asset, "/".join(partition)) is None:
            return None
        stored = Stored(self.survey, self.layout, *self._named(asset, partition))
        return stopped(stored, asset.path[-1], self._verdicts)

    def partitions(self, asset: dg.AssetKey, **fixed: str) -> list[Partition]:
        """All partitions that an asset should have, the main start weights first.

        Parameters
        ----------
        asset : dagster.AssetKey
        **fixed : str
            `batch` or `init`: only partitions of these.

        Returns
        -------
        list of tuple of str
        """
        values = {"batch": self.batches, "init": self.survey.starts_main_first}
        values |= {dimension: [value] for dimension, value in fixed.items()}
        by = self._declared(asset).by
        # the start weights change slowest
        return [part[::-1] for part in product(*(values[dimension] for dimension in reversed(by)))]

    def reads(self, asset: dg.AssetKey) -> "list[Read]":
        """The asset's inputs of its own survey.

        Parameters
        ----------
        asset : dagster.AssetKey

        Returns
        -------
        list of Read
        """
        return self._declared(asset).reads

    def read_partitions(self, read: Read, asset: dg.AssetKey, partition: Partition) -> list[Partition]:
        """The partitions of what is read that belong to a partition of the reader.

        Parameters
        ----------
        read : Read
        asset : dagster.AssetKey
            The reader.
        partition : tuple of str
            Of the reader.

        Returns
        -------
        list of tuple of str
        """
        if (places := self._found_at(read, asset)) is not None:
            values = (*partition, read.how.get("init", ""))
            return [tuple([values[place] for place in places])]
        return self.partitions(read.asset, **self._fixed(read, asset, partition))

    def _fixed(self, read: Read, asset: dg.AssetKey, partition: Partition) -> dict[str, str]:
        """`batch` and `init` of what is read, as far as they are settled by the partition of the reader."""
        own = dict(zip(self._declared(asset).by, partition, strict=True))
        if read.how.get("every_batch"):
            own.pop("batch", None)
        if "init" in read.how:
            own["init"] = read.how["init"]
        return own

    def _found_at(self, read: Read, asset: dg.AssetKey) -> list[int] | None:
        """The answer of `_places`, computed once."""
        declared = self._declared(asset)
        if read.asset not in declared.places:
            declared.places[read.asset] = self._places(read, declared.by)
        return declared.places[read.asset]

    def _places(self, read: Read, by: tuple[str, ...]) -> list[int] | None:
        """Place of what is read in (partition of the reader, start weights that are named); None of several."""
        at = {dimension: place for place, dimension in enumerate(by)}
        if read.how.get("every_batch"):
            at.pop("batch", None)
        if "init" in read.how:
            at["init"] = len(by)
        wanted = self._declared(read.asset).by
        return [at[dimension] for dimension in wanted] if at.keys() >= {*wanted} else None

    def _changed(self, read: Read, made: Origin, asset: dg.AssetKey, partition: Partition) -> str | None:
        """What has changed of an input since it was read, in words."""
        name = read.asset.path[-1]
        before = made.inputs.get(name, {})
        pinned = read.how.get("pinned")
        if pinned is not None and self.follow != "retrain" and pinned != self.follow:
            now = {part: self._version(read.asset, part) for part in before}
            remade = [part for part, seen in before.items() if (v := now[part]) and _is_other(v, seen)]
            return f"{name} was made anew by other code or settings" if remade else None
        own, found = self._own(read, asset, partition), 0
        if own is None and self._found_at(read, asset) is None:
            now_of_all = self._data_of(read.asset, **self._fixed(read, asset, partition))
            if now_of_all == {part: seen.data for part, seen in before.items()}:
                return None
        for part in map("/".join, self.read_partitions(read, asset, partition)):
            seen = before.get(part)
            # what is absent now is made first, and may come out as it was
            if (now := self._version(read.asset, part, own) or seen) is None:
                continue
            if seen is None or now.data != seen.data:
                return f"{name} changed"
            found += 1
        return f"{name} changed" if found != len(before) else None

    def _data_of(self, asset: dg.AssetKey, **fixed: str) -> dict[str, str]:
        """Digest of the content of each partition that is there, for the many who read the same."""
        key = tuple(fixed.items())
        if key not in self._data[asset.path[-1]]:
            parts = map("/".join, self.partitions(asset, **fixed))
            found = {part: now.data for part in parts if (now := self._version(asset, part))}
            self._data[asset.path[-1]][key] = found
        return self._data[asset.path[-1]][key]

    def outside(self, asset: dg.AssetKey, partition: Partition) -> dict[str, str]:
        """Fingerprints of what a partition reads that is no table of its survey, as it is now.

        Parameters
        ----------
        asset : dagster.AssetKey
        partition : tuple of str

        Returns
        -------
        dict of str to str
            By name.
        """
        if not (files := self._declared(asset).files):
            return {}
        return states(files, Reader(self.survey, self.known, self.layout, *self._named(asset, partition), self._seen))

    @functools.cached_property
    def footers(self) -> Footers:
        """The origins of the survey's tables."""
        return footers_of(self.layout, self.survey.name)

    @functools.cached_property
    def _root(self) -> str:
        return f"{self.layout.root}/"

    def _declared(self, asset: dg.AssetKey) -> "_Declared":
        if asset not in self._declarations:
            node = self.graph.get(asset)
            by = dimensions(node.partitions_def)
            self._declarations[asset] = _Declared(node.code_version, by, reads(self.graph, asset), files_of(node), {})
        return self._declarations[asset]

    def _named(self, asset: dg.AssetKey, partition: Partition) -> tuple[str, str]:
        """Batch and start weights of a partition, each empty where it has none."""
        own = dict(zip(self._declared(asset).by, partition, strict=True))
        return own.get("batch", ""), own.get("init", "")

    def _own(self, read: Read, asset: dg.AssetKey, partition: Partition) -> str | None:
        """The batch whose rows alone a partition reads of an input; None where it reads all."""
        return self._named(asset, partition)[0] if read.how.get("own_batch") else None

    def _made(self, asset: dg.AssetKey, partition: Partition) -> Origin | None:
        """The origin of a table; its version is remembered for those that read it. Raises DamagedFile."""
        name = asset.path[-1], "/".join(partition)
        self._data.pop(name[0], None)
        self._versions[name] = None
        made = self.footers.origin(name[0], partition)
        if made is not None:
            self._versions[name] = made.version(), made.by_batch
        return made

    def _version(self, asset: dg.AssetKey, partition: str, batch: str | None = None) -> Version | None:
        name = asset.path[-1], partition
        if name not in self._versions:
            with contextlib.suppress(DamagedFile):  # it is made anew
                self._made(asset, tuple(filter(None, partition.split("/"))))
        if (found := self._versions[name]) is None:
            return None
        version, by_batch = found
        return version if batch is None else Version(by_batch.get(batch, NO_ROWS), version.method)


class _Declared(NamedTuple):
    """What the graph says of an asset: code version, partitions, what it reads; and where, once asked (`_places`)."""

    code: str
    by: tuple[str, ...]
    reads: list[Read]
    files: list[External]
    places: dict[dg.AssetKey, list[int] | None]


def _is_other(now: Version, before: Version) -> bool:
    return now.method != before.method and now.data != before.data


def reads(graph: Any, asset: dg.AssetKey) -> list[Read]:
    """The asset's inputs of its own survey.

    Parameters
    ----------
    graph : asset graph of Dagster
    asset : dagster.AssetKey

    Returns
    -------
    list of Read
    """
    definition = graph.get(asset).assets_def
    inputs = definition.node_def.input_dict
    # what is read otherwise, files and another survey's checkpoints, is a dependency without a table (`external`)
    named = [(n, key) for n, key in definition.keys_by_input_name.items() if not inputs[n].dagster_type.is_nothing]
    return [Read(key, inputs[name].metadata or {}) for name, key in named]


def dimensions(partitions: dg.PartitionsDefinition | None) -> tuple[str, ...]:
    """What an asset is partitioned by.

    Parameters
    ----------
    partitions : dagster.PartitionsDefinition or None

    Returns
    -------
    tuple of str
        (), (batch,), (init,) or (batch, init).
    """
    match partitions:
        case dg.MultiPartitionsDefinition():
            return ("batch", "init")
        case dg.DynamicPartitionsDefinition():
            return ("batch",)
        case None:
            return ()
        case _:
            return ("init",)
