"""The plan of a survey: what each step costs at a number of galaxies, what is read and kept, and what breaks first.

Belongs here: which measured slope stands for which asset, and how often a survey's settings ask for it. Does not
belong here: the slopes (`measured`), counting a network (`networks`), printing (`cli.plan`).

A figure is `measured` where a benchmark measured that very step, of which only the number of galaxies is another; it is
`computed` where the slope is also scaled by counted operations or rests on an assumption, and `unknown` where neither
is to be had.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from galaxy_assets.orchestration.planning.foreseen import foreseen
from galaxy_assets.orchestration.planning.measured import Measured
from galaxy_assets.orchestration.planning.networks import Counted, counted, is_trained, network_of, networks_of
from galaxy_assets.settings.recipe import OF_START
from galaxy_assets.settings.survey import Survey

if TYPE_CHECKING:
    from galaxy_assets.orchestration.engines.main_job import Stage

Basis = Literal["measured", "computed", "unknown"]
_TRAINING = "byol_checkpoints"
_FAR = 100  # times the galaxies measured, from which on the plan says that they were few


@dataclass(frozen=True)
class Size:
    """What is planned for.

    Attributes
    ----------
    galaxies, batch_size : int
        No delivery has more than there are.
    cores, gpus : int
        Of all machines together; with a GPU the networks run there.
    memory : float
        Of the machine that runs the steps over the whole survey, bytes.
    """

    galaxies: int
    batch_size: int = 100_000
    cores: int = 1
    gpus: int = 0
    memory: float = math.inf

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch_size", min(self.batch_size, max(self.galaxies, 1)))

    @property
    def batches(self) -> int:
        """Deliveries."""
        return math.ceil(self.galaxies / self.batch_size)


@dataclass(frozen=True)
class Cost:
    """What one step costs, over all batches and start weights.

    Attributes
    ----------
    step : str
        Its asset.
    by_batch : bool
        Whether batches are worked on independently.
    basis : {"measured", "computed", "unknown"}
        Of core hours, or of GPU hours where there are any.
    core_hours, gpu_hours : float
    memory : float or None
        Peak of one process, bytes; None where it was not measured.
    full_at : float or None
        Galaxies at which that fills the machine; None where it never does or was not measured.
    """

    step: str
    by_batch: bool
    basis: Basis
    core_hours: float = 0.0
    gpu_hours: float = 0.0
    memory: float | None = None
    full_at: float | None = None

    def most_at_once(self, batches: int) -> float:
        """Cores or GPUs that work on it at most: one for each batch, and all for training, which is of all batches.

        Parameters
        ----------
        batches : int
            Deliveries.

        Returns
        -------
        float
        """
        return math.inf if self.step == _TRAINING else batches if self.by_batch else 1


@dataclass(frozen=True)
class Bytes:
    """What is read or kept.

    Attributes
    ----------
    what : str
    basis : {"measured", "computed", "unknown"}
    read, kept : float
        Bytes.
    """

    what: str
    basis: Basis
    read: float = 0.0
    kept: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A survey at one size.

    Attributes
    ----------
    survey : str
        Its name.
    size : Size
    runs, runs_launched : int
        Dagster runs in process and by the engine `launched`, where nothing has to be done twice.
    costs : list of Cost
    bytes : list of Bytes
    unknown : list of str
        What the plan leaves out or cannot know, a sentence each.
    """

    survey: str
    size: Size
    runs: int
    runs_launched: int
    costs: list[Cost]
    bytes: list[Bytes]
    unknown: list[str] = field(default_factory=list)

    @property
    def core_hours(self) -> float:
        """Of all steps."""
        return sum(cost.core_hours for cost in self.costs)

    @property
    def gpu_hours(self) -> float:
        """Of all steps."""
        return sum(cost.gpu_hours for cost in self.costs)

    @property
    def largest(self) -> Cost | None:
        """The step that takes most memory."""
        return max((c for c in self.costs if c.memory is not None), key=lambda c: c.memory or 0, default=None)

    @property
    def breaks_first(self) -> Cost | None:
        """The step whose memory is full at the fewest galaxies, of those measured."""
        return min((c for c in self.costs if c.full_at is not None), key=lambda c: c.full_at or 0, default=None)

    @property
    def hours(self) -> float:
        """Hours at least: batches share cores and GPUs, training takes all, and other steps of all run one by one."""
        hours = 0.0
        for cost in self.costs:
            most = cost.most_at_once(self.size.batches)
            hours += cost.core_hours / min(self.size.cores, most) + cost.gpu_hours / min(max(self.size.gpus, 1), most)
        return hours

    @property
    def longest_on_one_core(self) -> Cost:
        """The step of most core hours among those that more cores do not shorten."""
        batches = self.size.batches
        return max(self.costs, key=lambda cost: cost.core_hours if cost.most_at_once(batches) == 1 else 0.0)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        told = asdict(self)
        if math.isinf(self.size.memory):
            told["size"]["memory"] = None
        return told | {
            "batches": self.size.batches,
            "core_hours": self.core_hours,
            "gpu_hours": self.gpu_hours,
            "hours_at_least": self.hours,
            "bytes_read": sum(b.read for b in self.bytes),
            "bytes_kept": sum(b.kept for b in self.bytes),
            "largest": self.largest.step if self.largest else None,
            "breaks_first": self.breaks_first.step if self.breaks_first else None,
        }


def plan(survey: Survey, size: Size, stages: "Sequence[Stage]", launched: "Sequence[Stage]", known: Measured) -> Plan:
    """What a survey costs at a size.

    Parameters
    ----------
    survey : Survey
    size : Size
    stages, launched : sequence of Stage
        Of the main job in process, and by the engine `launched`.
    known : Measured

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        Where the survey names a backbone that there is not.
    """
    planner = _Planner(foreseen(survey), size, known)
    count = {"batch": size.batches, "init": len(survey.start_weights)}
    runs, apart = (
        sum(math.prod(count[dimension] for dimension in stage.by) for stage in found) for found in (stages, launched)
    )
    costs = [planner.limited(cost) for cost in planner.costs(runs)]
    whole = [asset.path[-1] for stage in stages if "batch" not in stage.by for asset in stage.assets]
    return Plan(survey.name, size, runs, apart, costs, list(planner.bytes_()), planner.unknown(whole))


@dataclass(frozen=True)
class _Planner:
    survey: Survey
    size: Size
    known: Measured

    def trained(self, start: str) -> bool:
        """Whether start weights are trained at all at this size."""
        return is_trained(self.survey, start, self.size.galaxies)

    def limited(self, cost: Cost) -> Cost:
        """A cost with the peak of its step's memory."""
        slope, most = self.known.slopes.get(cost.step), self._fitted_on.get(cost.step, math.inf)
        n = min(self.size.batch_size if cost.by_batch else self.size.galaxies, most)
        if slope is None or cost.basis == "unknown" or (memory := slope.memory_of(n)) is None:
            return cost
        full_at = None if cost.by_batch else slope.full_at(self.size.memory)
        full_at = full_at if full_at is not None and full_at <= most else None
        if cost.step == "baseline_rankings":  # beside the sample, what the search holds of every galaxy
            every = self.known.slopes["oracle_events"]
            memory += every.memory_of(self.size.galaxies) or 0.0
            full_at = every.full_at(self.size.memory)
        return replace(cost, memory=memory, full_at=full_at)

    def costs(self, runs: int) -> Iterator[Cost]:
        """Every step, in the order of the path."""
        starts = len(self.survey.start_weights)
        yield self._as_measured("cutouts", by_batch=True)
        yield self._network("pretrained_features", [counted(self.survey.recipe.backbone, self._pixels)], "float32")
        yield self._training()
        yield from self._embeddings()
        features, clusters = self._features(), self.survey.mixture.components
        of = {name: slope.of for name, slope in self.known.slopes.items()}
        for name, by_batch, power in (("pca_model", False, 2), ("pca_features", True, 1)):
            scale = sum((width / of[name]["features"]) ** power for width in features)
            yield self._as_measured(name, by_batch=by_batch, times=scale, same={*features} == {of[name]["features"]})
        fits = self.survey.mixture
        rounds = fits.n_init * min(fits.max_iter, self.known.assumed["iterations_of_a_mixture"])
        share = clusters / of["mixture_iteration"]["clusters"]
        seconds = self.known.slopes["mixture_iteration"].core_seconds(min(self.size.galaxies, fits.fitted_on))
        yield Cost("cluster_model", False, "computed", core_hours=starts * rounds * share * seconds / 3600)
        share = clusters / of["cluster_labels"]["clusters"]
        yield self._as_measured("cluster_labels", by_batch=True, times=starts * share, same=share == 1)
        yield self._as_measured("umap_model", times=starts, most=self._fitted_on["umap_model"])
        search = self.survey.anomaly
        rounds = max(search.budget - search.seeds, 0) / search.per_round / of["oracle_events"]["rounds"]
        yield self._as_measured("oracle_events", times=rounds, same=rounds == 1)
        # from there on each galaxy is compared with as many
        times = max(self.size.galaxies / search.outliers_among, 1)
        most = self._fitted_on["baseline_rankings"]
        yield self._as_measured("baseline_rankings", times=times, same=times == 1, most=most)
        for name in ("anomaly_ranking", "anomaly_recall", "similar_galaxies", "read_model"):
            yield self._as_measured(name)
        yield Cost("starting runs", True, "measured", core_hours=runs * self.known.slopes["run"].seconds / 3600)

    @property
    def _fitted_on(self) -> dict[str, int]:
        """Steps that read a sample alone: galaxies beyond which neither their seconds nor their memory grow."""
        return {"umap_model": self.survey.umap.fitted_on, "baseline_rankings": self.survey.anomaly.outliers_among}

    @property
    def _pixels(self) -> int:
        return self.survey.recipe.image_size

    def _as_measured(
        self, step: str, *, by_batch: bool = False, times: float = 1, same: bool = True, most: int | None = None
    ) -> Cost:
        """A step from its own slope: `times` as often or as much, which is `measured` where the work is the `same`.

        It grows up to `most` galaxies.
        """
        seconds = times * self.known.slopes[step].core_seconds(min(self.size.galaxies, most or self.size.galaxies))
        return Cost(step, by_batch, "measured" if same else "computed", core_hours=seconds / 3600)

    def _embeddings(self) -> Iterator[Cost]:
        recipe, found = self.survey.recipe, []
        for start in self.survey.start_weights:
            found += networks_of(self.survey, start, self.trained(start))
        networks = [network for network in found if network is not None] * recipe.orientations
        yield self._network("embeddings", networks, recipe.embedding_precision)
        if None in found:
            yield Cost("embeddings without a network", True, "unknown")

    def _features(self) -> list[int]:
        """Features of the embeddings of each start, as far as they are known."""
        found = []
        for start in self.survey.start_weights:
            parts = networks_of(self.survey, start, self.trained(start))
            found.append(sum(part.features for part in parts if part is not None))
        return found

    def _network(self, step: str, networks: Sequence[Counted], precision: str) -> Cost:
        """Forward passes of every galaxy through some networks."""
        if self.size.gpus:
            operations = self.size.galaxies * sum(network.operations for network in networks)
            return Cost(step, True, "computed", gpu_hours=self._gpu_hours(operations))
        seconds, basis = self._seconds_of(f"embedding {precision}", networks)
        return Cost(step, True, basis, core_hours=self.size.galaxies * seconds / 3600)

    def _training(self) -> Cost:
        """Every epoch of every start that is trained, on every galaxy, with the views."""
        recipe, step = self.survey.recipe, _TRAINING
        networks = [network_of(self.survey, start) for start in self.survey.start_weights if self.trained(start)]
        counts, images = [one for one in networks if one is not None], self.size.galaxies * recipe.epochs
        if self.size.gpus:
            operations = sum(network.operations for network in counts)
            passes = self.known.assumed["forward_passes_of_a_training_step"]
            return Cost(step, False, "computed", gpu_hours=self._gpu_hours(images * passes * operations))
        seconds, basis = self._seconds_of(f"training {recipe.precision}", counts)
        views = self.known.slopes["views"]
        drawn = 2 * views.core_seconds(1) * (self._pixels / views.of["size"]) ** 2 * len(networks)
        return Cost(step, False, basis, core_hours=images * (seconds + drawn) / 3600)

    def _seconds_of(self, name: str, networks: Sequence[Counted]) -> tuple[float, Basis]:
        """Core seconds of one image in some networks, each by the slope of the measured network that is of its kind."""
        seconds = 0.0
        basis: Basis = "measured"
        for network in networks:
            slope = self.known.slopes[name + (" depthwise" if network.depthwise else "")]
            same = counted(slope.of["backbone"], slope.of["size"])
            seconds += slope.core_seconds(1) * network.operations / same.operations
            basis = basis if network == same else "computed"
        return seconds, basis

    def _gpu_hours(self, operations: float) -> float:
        return operations / self.known.assumed["gpu_operations_per_second"] / 3600

    def bytes_(self) -> Iterator[Bytes]:
        """What is read and kept, of images, pixels and the tables that have a vector or a row for each galaxy."""
        n, recipe, cutout = self.size.galaxies, self.survey.recipe, self.survey.cutout
        each = {name: slope.bytes_each for name, slope in self.known.slopes.items() if slope.bytes_each is not None}
        yield Bytes("delivered images", "computed", read=n * each["bytes delivered image, PNG"])
        channels = 1 if cutout.grey else 3
        yield Bytes("stored cutouts", "computed", kept=n * cutout.size**2 * channels)
        trained = sum(map(self.trained, self.survey.start_weights))
        passes = 1 + len(self.survey.start_weights) + recipe.epochs * trained
        pixels = n * self._pixels**2 * channels
        what = "cutouts at the network's size"
        yield Bytes(what, "computed", read=passes * pixels, kept=0 if self._pixels == cutout.size else pixels)
        slope = self.known.slopes["bytes embeddings"]
        width = slope.of["features"]
        features = [counted(recipe.backbone, self._pixels).features, *self._features()]
        same = {*features} == {width}
        kept = n * each["bytes embeddings"] * sum(features) / width
        yield Bytes("features of networks", "measured" if same else "computed", kept=kept)
        starts = {"pca_features": len(self.survey.start_weights), "cluster_labels": len(self.survey.start_weights)}
        for name in ("pca_features", "cluster_labels", "anomaly_ranking"):
            yield Bytes(name, "measured", kept=n * each[f"bytes {name}"] * starts.get(name, 1))

    def unknown(self, whole: Sequence[str]) -> list[str]:
        """What the plan leaves out or cannot know, of which some are steps over the whole survey."""
        survey, told_of = self.survey, {cost.step for cost in self.costs(1)}
        left_out = [step for step in whole if step not in told_of and not step.startswith(("figure_", "table_"))]
        told = [
            "cutouts and delivered bytes are those of PNG images of 300 to 424 pixels; FITS, archives and larger "
            "images differ",
            "how many galaxies are artefacts is not known: all are trained on, embedded and ranked",
            "principal components are as many as were measured; clusters that stay empty cost as much as others",
            "not measured: artefact evidence and map, evaluation, health of every epoch, figures, checks, tables "
            "without a vector, memory of training and embedding, reading over a network, and starting a run that loads "
            "torch",
            f"steps over the whole survey that were not measured, nor the memory that they take: {', '.join(left_out)}",
        ]
        steps = [cost.step for cost in self.costs(1) if cost.step in self.known.slopes and not cost.by_batch]
        if far := [step for step in steps if _FAR * self.known.slopes[step].n < self.size.galaxies]:
            sizes = ", ".join(f"{step} on {self.known.slopes[step].n:,}" for step in far)
            told.append(f"far beyond what was measured: {sizes}")
        if self.size.gpus:
            told.append(f"no GPU was measured: it is taken to do {self.known.assumed['gpu']}, and no time to be fed")
        if any(
            network_of(survey, name) is None for name in {*survey.start_weights, *survey.recipe.beside} - {*OF_START}
        ):
            told.append("features without a network (`classical`, another package's) were not measured")
        if survey.recipe.trainer != "byol":
            told.append(f"training is that of the trainer `byol`, not of `{survey.recipe.trainer}`")
        if survey.auto:
            told.append(
                f"trials choose {', '.join(survey.auto)}: planned with {self._pixels} pixels, "
                f"{survey.recipe.orientations} orientations and the defaults of the rest, as if cutouts are aligned "
                "wherever trials may choose that; trials not counted"
            )
        measured = {slope.of["backbone"] for slope in self.known.slopes.values() if "backbone" in slope.of}
        if not self.size.gpus and survey.recipe.backbone not in measured:
            which = ", ".join(sorted(measured))
            told.append(f"networks of other layers than those measured ({which}) may take half or twice as long")
        return told
