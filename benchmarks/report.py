"""docs/performance.md from the benchmarks' tables: its measured sections, its figure, and the numbers beside it.

    python benchmarks/report.py

Reads `lake/benchmarks/performance/` and writes docs/performance.json, which is those rows and is committed with the
page, so that a test can hold one to the other; the sections of docs/performance.md between `<!-- measured: NAME -->`
and `<!-- end -->`; docs/performance.png; and the slopes that `galaxy-assets plan` goes by, a file of the package. A
stage that the lake has not keeps the rows that the page had.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from side_by_side import ROOT, SURVEY, TABLE, Equal, Row

from galaxy_assets.figures.style import CONTEXT, DOUBLE, HIGHLIGHT, PALETTE, lettered, new_figure
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.settings.structure import Mixture, Umap
from galaxy_assets.storage.figures import save
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = ROOT / "docs" / "performance.md"
NUMBERS = PAGE.with_suffix(".json")
PICTURE = PAGE.with_suffix(".png")
SLOPES = ROOT / "galaxy_assets" / "orchestration" / "planning" / "measured.json"
_SECTION = re.compile(r"(<!-- measured: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SHARED = ("machine", "threads", "versions", "code", "took", "measured")
_MACHINE_MB = 24_000  # of the machine that the project is built for


def write_page(layout: Layout) -> Path:
    """Numbers, figure and page from the tables in the lake; returns the page."""
    known = {row["stage"]: [] for row in read_numbers()}
    for row in read_numbers():
        known[row["stage"]].append(row)
    for path in sorted((layout.lake / SURVEY / TABLE).glob("*.parquet")):
        known[path.stem] = [_plain(row) for row in read_table(path).to_pylist()]
    rows = [row for stage in sorted(known) for row in known[stage]]
    with replacing(NUMBERS) as partial:
        partial.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    save(picture(rows), PICTURE)
    with replacing(SLOPES) as partial:
        partial.write_text(json.dumps(slopes(rows), indent=1) + "\n", encoding="utf-8")
    text = rendered(PAGE.read_text(encoding="utf-8"), rows)
    with replacing(PAGE) as partial:
        partial.write_text(text, encoding="utf-8")
    return PAGE


def read_numbers() -> list[dict[str, Any]]:
    """The rows that the page shows; none where the file is not there."""
    return json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.exists() else []


def _plain(value: Any) -> Any:
    """A row as JSON holds it, numbers with six digits."""
    match value:
        case dict():
            return {key: _plain(v) for key, v in value.items()}
        case list():
            return [_plain(v) for v in value]
        case float():
            return float(f"{value:.6g}")
        case datetime():
            return value.isoformat()
    return value


def rendered(page: str, rows: list[dict[str, Any]]) -> str:
    """The page with its measured sections written from the rows. Raises KeyError for a section that is not known."""
    return _SECTION.sub(lambda found: found[1] + "\n" + SECTIONS[found[2]](rows) + "\n\n" + found[3], page)


def write_sections(page: Path, tables: dict[str, str]) -> None:
    """Put tables into the page's measured sections of these names; the others stay. Raises ValueError where the page
    has no such section.
    """
    text = page.read_text(encoding="utf-8")
    if absent := set(tables) - {found[2] for found in _SECTION.finditer(text)}:
        named = ", ".join(f"<!-- measured: {name} --> ... <!-- end -->" for name in sorted(absent))
        raise ValueError(f"{page} has no section for a table, and nothing was written; add {named}, then run it again")

    def section(found: re.Match[str]) -> str:
        return f"{found[1]}\n{tables[found[2]]}\n\n{found[3]}" if found[2] in tables else found[0]

    with replacing(page) as partial:
        partial.write_text(_SECTION.sub(section, text), encoding="utf-8")


def _row(row: dict[str, Any]) -> Row:
    own: dict[str, Any] = {name: value for name, value in row.items() if name not in _SHARED}
    own["equal"] = [Equal(**equal) for equal in row["equal"] or []]
    return Row(**own)


def _table(head: list[str], lines: Iterator[list[str]] | list[list[str]]) -> str:
    shown = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *shown])


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:,.{digits}g}" if abs(value) < 99.5 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would say them in."""
    for unit, size in {"years": 31_557_600, "days": 86_400, "h": 3600, "min": 60}.items():
        if seconds >= 2 * size:
            return f"{_number(seconds / size)} {unit}"
    return f"{_number(seconds)} s" if seconds >= 0.1 else f"{_number(1e3 * seconds)} ms"


def ratios(rows: list[dict[str, Any]]) -> str:
    """Every comparison with its target, and what is to be said of it."""
    found = [row for row in map(_row, rows) if row.ratio is not None]
    notes = dict.fromkeys(f"- {row.case}: {row.note}." for row in found if row.note)
    compared = _table(
        ["", "N", "peer", "ratio", "of the processor", "target", "ours", "the peer's", "of what bounds it"],
        [
            [
                row.case,
                f"{row.n:,}",
                row.peer or "",
                f"**x{_number(row.ratio)}** [{_number(row.ratio_min)} .. {_number(row.ratio_max)}]",
                f"x{_number(row.cpu_ratio)}",
                f"x{_number(row.target_ratio)}" if row.target_ratio else "",
                duration(row.seconds or 0),
                duration(row.peer_seconds or 0),
                f"{row.share:.0%} of {row.limit}" if row.share is not None else "",
            ]
            for row in found
        ],
    )
    return "\n".join([compared, "", *notes]).rstrip()


def memory(rows: list[dict[str, Any]]) -> str:
    """Memory of both sides and growth."""
    found = [row for row in map(_row, rows) if row.exponent is not None and row.stage != "survey_at_scale"]
    return _table(
        ["", "N", "ours, MB", "the peer's, MB", "ours at three sizes, MB", "time grows as"],
        [
            [
                row.case,
                f"{row.n:,}",
                _number(row.memory_mb),
                _number(row.peer_memory_mb),
                ", ".join(_number(mb) for mb in row.size_memory_mb),
                f"N^{row.exponent:.2f}",
            ]
            for row in found
        ],
    )


def equality(rows: list[dict[str, Any]]) -> str:
    """How far apart the answers were."""
    return _table(
        ["", "what", "found", "allowed"],
        [
            [" / ".join(filter(None, (row.case, row.peer))), equal.what, f"{equal.found:.2g}", f"{equal.limit:.2g}"]
            for row in map(_row, rows)
            for equal in row.equal
        ],
    )


def survey(rows: list[dict[str, Any]]) -> str:
    """The simulated survey, step by step."""
    found = [row for row in map(_row, rows) if row.stage == "survey_at_scale"]
    if not found:
        return "Not measured yet."
    return _table(
        ["step", "N", "seconds", "MB above the interpreter", "seconds of the processor at each N", "grows as", ""],
        [
            [
                f"`{row.case}`" if "_" in row.case else f"**{row.case}**",
                f"{row.n:,}",
                _number(row.seconds),
                _number(row.memory_mb),
                ", ".join(f"{n:,}: {_number(s)}" for n, s in zip(row.sizes, row.size_seconds, strict=True)),
                f"N^{row.exponent:.2f}" if row.exponent is not None else "",
                row.note or "",
            ]
            for row in found
        ],
    )


def start(rows: list[dict[str, Any]]) -> str:
    """What starting costs."""
    return _table(
        ["", "seconds", "of the processor", "MB", "targets", ""],
        [
            [
                row.case,
                _number(row.seconds),
                _number(row.cpu_seconds),
                _number(row.memory_mb),
                ", ".join(f"{_number(target)} {name}" for name, target, *_ in row.targets()),
                row.note or "",
            ]
            for row in map(_row, rows)
            if row.stage == "startup"
        ],
    )


def short(rows: list[dict[str, Any]]) -> str:
    """Everything that is not as it should be."""
    lines = []
    for row in map(_row, rows):
        name = f"{row.case} / {row.peer}" if row.peer else row.case
        lines += [
            f"- {name}: {_number(f)} {what}, target {_number(t)}." for what, t, f, met in row.targets() if not met
        ]
        lines += [f"- {name}: {e.what} {e.found:.2g}, allowed {e.limit:.2g}." for e in row.equal if not e.holds]
        if row.note and row.note.startswith("stopped"):
            lines.append(f"- {name}: {row.note}.")
    return "\n".join(lines) or "Every target is met."


def conditions(rows: list[dict[str, Any]]) -> str:
    """Machines, versions and dates of the rows."""
    machines = sorted({f"{row['machine']}, {row['threads']} thread of arithmetic" for row in rows})
    days = sorted(row["measured"][:10] for row in rows)
    took = {row["stage"]: row["took"] for row in rows}
    lines = [f"- {'; '.join(machines)}", f"- {'; '.join(sorted({row['versions'] for row in rows}))}"]
    if rows:
        lines.append(f"- measured {days[0]} to {days[-1]}; all stages together took {duration(sum(took.values()))}")
    return "\n".join(lines)


class Projected(NamedTuple):
    """A step of the path, how it is read off the table, and what one galaxy asks of a GPU.

    case, times : the row whose seconds per galaxy count, and how often the step does that.
    flop, bytes_ : operations and bytes moved per galaxy; None where a GPU does not take part.
    sample, beyond : galaxies that the step is fitted on at most, and whether each one beyond costs what one of these
    does.
    """

    step: str
    case: str
    times: float
    flop: float | None
    bytes_: float = 0.0
    sample: float = math.inf
    beyond: bool = False

    def galaxies(self, n: float) -> tuple[float, float]:
        """Of a survey of n: how many the step reads at once, and how often it does."""
        read = min(n, self.sample)
        return read, n / read if self.beyond else 1.0


_STEPS, _WIDTH, _KEPT, _CLUSTERS = 20, 512, 29, 20
_QUADRATIC = _KEPT * (_KEPT + 3) / 2
_ITERATIONS = 150  # of a fit of the mixture
_FIT = 10 * _ITERATIONS  # starts times iterations
PROJECTED = (
    Projected("cutouts from PNG", "PNG file to stored cutout", 1, None),
    Projected("embedding, 224 px", "embedding, 224 px, float32", 1, 3.64e9),
    Projected(
        f"BYOL, {_STEPS} epochs, 128 px",
        "BYOL step, 128 px, batch 16, float32",
        _STEPS,
        8 * 3.64e9 * (128 / 224) ** 2 * _STEPS,
    ),
    Projected("PCA, fit", "pca_model", 1, 2.0 * _WIDTH**2, 4 * _WIDTH),
    Projected("PCA, apply", "pca_features", 1, 2.0 * _WIDTH * _KEPT, 4 * (_WIDTH + _KEPT)),
    Projected("UMAP", "UMAP", 1, None, sample=Umap().fitted_on),
    Projected(
        "mixture, 10 starts, 150 iterations",
        "mixture, one iteration of one start of 10, float64",
        _FIT,
        4 * _QUADRATIC * _CLUSTERS * _FIT,
        4 * _KEPT * 150,
        Mixture().fitted_on,
    ),
    Projected("cluster labels", "cluster_labels", 1, 2 * _QUADRATIC * _CLUSTERS, 4 * _KEPT),
    Projected("search, 19 rounds", "label_events", 1, 19 * (2 * 100 * _KEPT + 100**2), 19 * 4 * _KEPT),
    Projected("ranking", "anomaly_ranking", 1, 2 * 200 * _KEPT + 200**2, 4 * _KEPT),
    Projected(
        "local outlier factor",
        "local outlier factor, a baseline of the ranking",
        1,
        None,
        sample=Anomaly().outliers_among,
        beyond=True,
    ),
    Projected("recall", "anomaly_recall", 1, None),
    Projected("one similarity search", "one similarity search", 1, 3 * _KEPT, 4 * _KEPT),
    Projected("read model and its queries", "read_model", 1, None),
)
_GPU_FLOPS, _GPU_BYTES = 10e12, 1e12  # per second
_PASSES = (
    8  # forward passes that a BYOL step is worth: two views, each forwards and backwards online, forwards in target
)
_SIZES = (1e6, 1e8, 1e10)


def projected(row: Row, n: float) -> float:
    """Seconds of the processor of a row's step on n galaxies: from its largest size on by its slope, at least N^1.

    A slope below 1 is fixed cost that the larger sizes no longer have.
    """
    seconds = row.size_seconds[-1] if row.size_seconds else row.cpu_seconds or row.seconds or math.nan
    return seconds * (n / (row.sizes[-1] if row.sizes else row.n)) ** max(row.exponent or 1.0, 1.0)


def projection(rows: list[dict[str, Any]]) -> str:
    """Time at three sizes on one core, and on one GPU by counting."""
    cases = {row.case: row for row in map(_row, rows)}
    lines = []
    for step in PROJECTED:
        row = cases.get(step.case)
        if row is None or not (row.seconds or row.size_seconds):
            lines.append([step.step, "not measured", *[""] * 2 * len(_SIZES)])
            continue
        parts = [step.galaxies(n) for n in _SIZES]
        cells = [duration(step.times * often * projected(row, n)) for n, often in parts]
        for n, _ in parts:
            need = None if step.flop is None else n * max(step.flop / _GPU_FLOPS, step.bytes_ / _GPU_BYTES)
            cells.append("" if need is None else duration(need))
        grows = f"N^{max(row.exponent or 1.0, 1.0):.2f}"
        if step.sample < math.inf:
            grows += f" up to {step.sample:,}, then {'N' if step.beyond else 'no more'}"
        lines.append([step.step, grows, *cells])
    head = ["step", "grows as", *(f"10^{math.log10(n):.0f}, one core" for n in _SIZES)]
    return _table([*head, *(f"10^{math.log10(n):.0f}, one GPU (computed)" for n in _SIZES)], lines)


_FEATURES = {"features": _WIDTH, "components": _KEPT}
_NETWORKS = (("", "", "resnet18"), (" depthwise", " of EfficientNet-Lite0", "tf_efficientnet_lite0"))
PLANNED: dict[str, tuple[str, dict[str, Any]]] = {
    "cutouts": ("PNG file to stored cutout", {}),
    **{
        f"embedding {precision}{kind}": (f"embedding{name}, 224 px, {precision}", {"backbone": backbone, "size": 224})
        for precision in ("float32", "bfloat16")
        for kind, name, backbone in _NETWORKS
    },
    **{
        f"training {precision}{kind}": (
            f"BYOL step{name}, 128 px, batch 16, {precision}",
            {"backbone": backbone, "size": 128},
        )
        for precision in ("float32", "bfloat16")
        for kind, name, backbone in _NETWORKS
    },
    "views": ("one view of each of 32, 128 px", {"size": 128}),
    "pca_model": ("pca_model", _FEATURES),
    "pca_features": ("pca_features", _FEATURES),
    "mixture_iteration": ("mixture, one iteration of one start of 10, float64", {"clusters": _CLUSTERS}),
    "cluster_model": ("cluster_model", {"clusters": _CLUSTERS}),
    "cluster_labels": ("cluster_labels", {"clusters": _CLUSTERS}),
    "umap_model": ("UMAP", {}),
    "oracle_events": ("label_events", {"rounds": 19}),
    "baseline_rankings": ("local outlier factor, a baseline of the ranking", {}),
    "anomaly_ranking": ("anomaly_ranking", {}),
    "anomaly_recall": ("anomaly_recall", {}),
    "similar_galaxies": ("similar_galaxies", {}),
    "read_model": ("read_model", {}),
    "run": ("starting a run of a light asset", {}),
    **{
        f"bytes {name}": (name, {"features": _WIDTH} if name == "embeddings" else {})
        for name in ("delivered image, PNG", "embeddings")
    },
    **{f"bytes {name}": (name, {}) for name in ("pca_features", "cluster_labels", "anomaly_ranking")},
}
"""What a plan goes by: name -> the case that measures it, and what it was measured on beside its number of galaxies."""


def slopes(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What `galaxy-assets plan` goes by: the measured cost of each step, when and on which machine; what is assumed."""
    by_case = {(row["case"], row["stage"] == "kept_bytes"): row for row in reversed(rows)}
    found = {}
    for name, (case, of) in PLANNED.items():
        if row := by_case.get((case, name.startswith("bytes"))):
            columns = ("stage", "case", "n", "seconds", "cpu_seconds", "memory_mb", "bytes", "sizes", "size_seconds")
            columns += ("size_memory_mb", "exponent", "machine", "threads", "measured")
            found[name] = {column: row.get(column) for column in columns} | {"of": of}
    assumed = {
        "gpu_operations_per_second": _GPU_FLOPS,
        "gpu": "about half of what the data sheet of a data-centre GPU of 2020 promises in float32",
        "forward_passes_of_a_training_step": _PASSES,
        "iterations_of_a_mixture": _ITERATIONS,
    }
    return {"written_by": "benchmarks/report.py", "slopes": found, "assumed": assumed}


def breaking(rows: list[dict[str, Any]]) -> str:
    """How many galaxies fit into the machine's memory, step by step, the first to break first."""
    lines = []
    for row in map(_row, rows):
        if row.stage != "survey_at_scale" or len(row.sizes) < 2 or row.case == "all steps":
            continue
        slope = (row.size_memory_mb[-1] - row.size_memory_mb[-2]) / (row.sizes[-1] - row.sizes[-2])
        room = _MACHINE_MB - row.size_memory_mb[-1]
        reached = row.sizes[-1] + room / slope if slope > 1e-6 else math.inf
        lines.append((reached, [f"`{row.case}`", _number(1e6 * max(slope, 0)), _reach(reached)]))
    return _table(["step", "MB more per million galaxies", "24 GB are full at"], [cells for _, cells in sorted(lines)])


def _reach(galaxies: float) -> str:
    if math.isinf(galaxies) or galaxies > 1e11:
        return "never"
    power = math.floor(math.log10(galaxies))
    return f"{galaxies / 10**power:.0f} x 10^{power}"


SECTIONS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    section.__name__: section
    for section in (conditions, ratios, memory, equality, survey, start, short, projection, breaking)
}


def picture(rows: list[dict[str, Any]]) -> "Figure":
    """Ratios with their ranges, those short of their target in another colour, and the targets."""
    found = [row for row in map(_row, rows) if row.ratio is not None][::-1]
    figure = new_figure("ratios to the peers and targets", DOUBLE, 0.9 + 0.19 * len(found))
    axes = figure.add_subplot()
    for y, row in enumerate(found):
        ratio, low, high = (value or math.nan for value in (row.ratio, row.ratio_min, row.ratio_max))
        met = row.target_ratio is None or ratio >= row.target_ratio
        axes.plot([low, high], [y, y], color=CONTEXT, linewidth=3, solid_capstyle="butt")
        axes.plot(ratio, y, "o", color=PALETTE[0] if met else HIGHLIGHT, markersize=4)
        if row.target_ratio is not None:
            axes.plot(row.target_ratio, y, "|", color="black", markersize=9)
    axes.axvline(1, color=CONTEXT, linewidth=0.8)
    axes.set(
        xscale="log",
        yticks=range(len(found)),
        yticklabels=[f"{row.case} / {row.peer}" for row in found],
        xlabel="times faster than the peer ( | target)",
        ylim=(-0.6, len(found) - 0.4),
    )
    axes.xaxis.set_major_formatter("{x:g}")
    return lettered(figure)


if __name__ == "__main__":
    print(write_page(Layout.default()))
