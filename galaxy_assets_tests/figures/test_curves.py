"""The lines are the tables' numbers: galaxy_assets.figures.curves."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.figure import Figure
from PIL import Image

from galaxy_assets.figures import curves
from galaxy_assets.figures.curves import epoch_accuracy, recall, training, variance, votes_violin
from galaxy_assets.science.active_learning import recall_curve
from galaxy_assets.science.figure_tables import accuracy_by_epoch
from galaxy_assets.storage.figures import save


def assert_drawn(figure: Figure, folder: Path, colours: int = 20) -> None:
    with Image.open(save(figure, folder / "figure.png")) as image:
        assert image.size == tuple(np.round(figure.get_size_inches() * 200).astype(int))
        assert len(image.convert("RGB").getcolors(2**24)) > colours


def lines(axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {line.get_label(): tuple(map(np.asarray, line.get_data())) for line in axes.lines}


def texts(figure: Figure) -> str:
    return " ".join(t.get_text() for ax in figure.axes for t in ax.texts)


def accuracies(inits: tuple[str, ...] = ("random", "imagenet"), epochs: int = 4, splits: int = 6) -> pa.Table:
    rng = np.random.default_rng(0)
    rows = [
        {"init": i, "epoch": e, "features": f, "split": s, "accuracy": rng.uniform(0.5, 1)}
        for i in inits
        for f, n in (("byol", epochs), ("untrained", 1), ("pretrained", 1), ("pixels", 1))
        for e in range(n)
        for s in range(splits)
    ]
    # the lake gives no order
    return pa.Table.from_pylist([rows[k] for k in rng.permutation(len(rows))])


def test_accuracy_lines_are_means_and_bands_are_standard_deviations(tmp_path: Path):
    table = accuracies()
    figure = epoch_accuracy(accuracy_by_epoch(table, ("random", "imagenet")), 3)
    (axes,) = figure.axes
    frame = table.to_pandas()
    drawn = lines(axes)
    bands = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    inits = list(dict.fromkeys(frame["init"]))
    for init, band in zip(inits, bands, strict=True):
        own = frame[(frame["init"] == init) & (frame["features"] == "byol")].groupby("epoch")["accuracy"]
        epoch, mean = drawn[f"start: {init}"]
        assert epoch.tolist() == [0, 1, 2, 3]
        assert mean == pytest.approx(own.mean().to_numpy())
        vertices = band.get_paths()[0].vertices
        for e, sd in own.std(ddof=0).items():
            height = vertices[vertices[:, 0] == e, 1]
            assert (height.max() - height.min()) == pytest.approx(2 * sd)
    for kind, label in (
        ("pixels", "raw pixels"),
        ("untrained", "untrained network"),
        ("pretrained", "ImageNet network as it is"),
    ):
        level = drawn[label][1]
        assert level == pytest.approx(np.full(2, frame[frame["features"] == kind]["accuracy"].mean()))
    assert {t.get_text() for t in figure.legends[0].get_texts()} == set(drawn)
    assert_drawn(figure, tmp_path)


def stars(axes) -> list[list[float]]:
    return [[*line.get_xdata(), *line.get_ydata()] for line in axes.lines if line.get_marker() == "*"]


def test_features_side_by_side_are_a_star_and_no_epoch_of_the_line(tmp_path: Path):
    table = accuracy_by_epoch(accuracies(("random",)), ["random"])
    means = {row["epoch"]: row["mean"] for row in table.to_pylist() if row["features"] == "byol"}
    figure = epoch_accuracy(table, 2)
    assert lines(figure.axes[0])["start: random"][0].tolist() == [0, 1, 2]
    assert stars(figure.axes[0]) == [[3, pytest.approx(means[3])]]
    assert "random: side by side" in {t.get_text() for t in figure.legends[0].get_texts()}
    assert_drawn(figure, tmp_path)
    columns = {name: [0.5, 0.6, 0.7] for name in curves._TRAINING}
    rows = pa.table({"init": ["random"] * 3, "epoch": [0, 1, 2], "chosen": [False, False, True], **columns})
    panel = training(rows, 1).axes[1]
    assert lines(panel)["random"][0].tolist() == [0, 1] and stars(panel) == [[2, 0.7]]
    assert len(training(rows, 1).legends[0].get_texts()) == 1


def test_a_list_that_an_isolation_forest_ranks_says_so():
    table = pa.table(recall_curve(np.array([True, False]), np.zeros(2, bool)))
    assert "the ranking, an isolation forest" in lines(recall(table, by_forest=True).axes[0])


def test_accuracy_leaves_out_what_is_unknown(tmp_path: Path):
    table = accuracies(("rgz",), epochs=2, splits=1)
    values = [None if r["features"] == "pretrained" else r["accuracy"] for r in table.to_pylist()]
    table = table.set_column(4, "accuracy", pa.array(values, pa.float64()))
    figure = epoch_accuracy(accuracy_by_epoch(table, ["rgz"]), 1)
    assert set(lines(figure.axes[0])) == {"start: rgz", "untrained network", "raw pixels"}
    assert_drawn(figure, tmp_path)


def test_training_has_a_line_per_start_no_loss_at_the_start_and_marks_the_choice(tmp_path: Path):
    table = pa.table(
        {
            "init": ["random"] * 3 + ["gz_decals"] * 3,
            "epoch": [2, 0, 1, 0, 1, 2],
            "loss": [0.2, None, 0.5, None, 0.4, 0.3],
            "effective_rank": [3.0, 1.0, 2.0, 6.0, 5.0, 4.0],
            "pcs_95": pa.array([3, 1, 2, 9, 8, 7], pa.int32()),
            "chosen": [False, True, False, False, False, True],
            **dict.fromkeys(("stability", "alignment", "uniformity", "feature_std"), [0.5] * 6),
            "images_per_second": [9.0, None, 8.0, None, 7.0, 6.0],
        }
    )
    figure = training(table, 2)
    loss, components, rank = (lines(axes) for axes in figure.axes[:3])
    assert [v.tolist() for v in loss["random"]] == [[1, 2], [0.5, 0.2]]
    assert [v.tolist() for v in rank["random"]] == [[0, 1, 2], [1, 2, 3]]
    assert [v.tolist() for v in components["gz decals"]] == [[0, 1, 2], [9, 8, 7]]
    rings = [line for line in figure.axes[1].lines if line.get_marker() == "o" and line.get_markersize() == 13]
    assert sorted((*line.get_xdata(), *line.get_ydata()) for line in rings) == [(0, 1), (2, 7)]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["start: random", "start: gz decals"]
    assert_drawn(figure, tmp_path)


def test_recall_draws_the_table(tmp_path: Path):
    table = pa.table(recall_curve(np.random.default_rng(2).random(200) < 0.2, np.zeros(200, bool)))
    figure = recall(table, by_forest=False)
    drawn = lines(figure.axes[0])
    named = {"active learning": "found", "random order": "random", "perfect order": "perfect"}
    for label, column in named.items():
        assert drawn[label][0].tolist() == list(range(1, 201))
        assert drawn[label][1].tolist() == table[column].to_pylist()
    assert {t.get_text() for t in figure.legends[0].get_texts()} == set(named)
    assert_drawn(figure, tmp_path)


def test_recall_draws_the_baselines_that_were_run():
    table = pa.table(recall_curve(np.arange(50) < 9, np.zeros(50, bool)))
    table = table.append_column("isolation_forest", pa.array(np.arange(50) // 6))
    table = table.append_column("published", pa.nulls(50, pa.float64()))
    drawn = lines(recall(table, by_forest=False).axes[0])
    assert drawn["isolation forest"][1].tolist() == (np.arange(50) // 6).tolist()
    assert set(drawn) == {"active learning", "random order", "perfect order", "isolation forest"}


def fractions(rows: list[tuple[str, str, float]]) -> pa.Table:
    names = ("cluster", "panel", "fraction")
    types = pa.schema([("cluster", pa.string()), ("panel", pa.string()), ("fraction", pa.float64())])
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=types)


def test_violins_span_the_data_with_equal_widths_in_the_clusters_order(tmp_path: Path):
    rng = np.random.default_rng(4)
    values = {"10": rng.uniform(0, 0.3, 50), "2": rng.uniform(0.5, 1, 400), "all": rng.uniform(0, 1, 450)}
    rows = [(k, p, v) for p in ("featured", "edge_on: yes") for k, f in values.items() for v in f]
    figure = votes_violin(fractions(rows))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["featured", "edge on: yes"]
    for axes in figure.axes:
        violins = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
        boxes = [v.get_paths()[0].get_extents() for v in violins]
        boxes.sort(key=lambda box: box.x0)
        for box, k in zip(boxes, ("all", "2", "10"), strict=True):
            assert (box.y0, box.y1) == pytest.approx((values[k].min(), values[k].max()))
            assert box.width == pytest.approx(boxes[0].width, rel=1e-6)
        medians = [line for line in axes.lines if line.get_marker() == "o"]
        assert [m.get_ydata()[0] for m in medians] == pytest.approx([np.median(values[k]) for k in ("all", "2", "10")])
    figure.canvas.draw()
    assert [t.get_text() for t in figure.axes[1].get_xticklabels()] == ["all", "2", "10"]
    assert_drawn(figure, tmp_path)


def test_violins_of_one_galaxy_equal_votes_and_nothing(tmp_path: Path):
    rows = [("all", "p", 0.2), ("0", "p", 0.2), *[("1", "p", 0.5)] * 4, ("2", "p", float("nan"))]
    rows += [("all", "unasked", float("nan"))]
    figure = votes_violin(fractions(rows))
    assert "no galaxy has votes" in texts(figure)
    assert len(figure.axes[0].get_xticks()) == 4, "a cluster without votes keeps its place"
    assert_drawn(figure, tmp_path, colours=5)


def test_variance_is_cumulative_and_marks_what_is_kept(tmp_path: Path):
    figure = variance(np.array([0.6, 0.3, 0.06, 0.04]), 3)
    (axes,) = figure.axes
    curve, mark = axes.lines
    assert np.asarray(curve.get_data()).tolist() == [[1, 2, 3, 4], pytest.approx([0.6, 0.9, 0.96, 1.0])]
    assert set(mark.get_xdata()) == {3}
    assert axes.get_title() == "3 components hold 96.0% of the variance"
    assert_drawn(figure, tmp_path)


def no_epochs() -> pa.Table:
    columns = {c: pa.array([], pa.float64()) for c in ("init", "epoch", *curves._TRAINING)}
    return pa.table(columns | {"chosen": pa.array([], pa.bool_())})


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (lambda: epoch_accuracy(accuracy_by_epoch(accuracies(), []), 3), "no accuracy has been measured"),
        (lambda: training(no_epochs(), 2), "not measured yet"),
        (
            lambda: recall(pa.table(recall_curve(np.zeros(5, bool), np.zeros(5, bool))), by_forest=False),
            "no true anomalies in this list",
        ),
        (
            lambda: recall(pa.table(recall_curve(np.zeros(0, bool), np.zeros(0, bool))), by_forest=False),
            "the list is empty",
        ),
        (lambda: votes_violin(fractions([])), "no galaxy has votes"),
        (lambda: variance(np.empty(0), 0), "no principal components"),
        (lambda: variance(np.array([np.nan]), 1), "the variance is not finite"),
    ],
)
def test_odd_input_gives_words(figure, words: str, tmp_path: Path):
    drawn = figure()
    assert words in texts(drawn)
    assert_drawn(drawn, tmp_path, colours=5)


@pytest.mark.parametrize(
    "figure",
    [
        lambda: epoch_accuracy(accuracy_by_epoch(accuracies(("random",), epochs=1, splits=1), ["random"]), 0),
        lambda: recall(pa.table(recall_curve(np.ones(1, bool), np.ones(1, bool))), by_forest=False),
        lambda: variance(np.ones(1), 1),
    ],
)
def test_one_number_is_drawn(figure, tmp_path: Path):
    assert_drawn(figure(), tmp_path)


def test_drawing_leaves_no_figure_with_pyplot():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    votes_violin(fractions([("all", "p", v) for v in (0.1, 0.2, 0.9)]))
    assert plt.get_fignums() == before
