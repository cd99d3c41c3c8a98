"""The points on the maps are the galaxies given: galaxy_assets.figures.maps."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from PIL import Image

from galaxy_assets.figures.maps import (
    ClusterExamples,
    anomaly_maps,
    artefact_map,
    class_map,
    cluster_examples,
    cluster_map,
    start_weight_panel,
)
from galaxy_assets.storage.figures import save

NOTHING = np.empty(0)


@pytest.fixture
def world() -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.random.default_rng(3).normal(size=(2, 60)))


def points(axes) -> dict[str, np.ndarray]:
    """Coordinates of every scatter by its label."""
    return {c.get_label(): np.asarray(c.get_offsets()) for c in axes.collections if isinstance(c, PathCollection)}


def all_points(axes) -> np.ndarray:
    found = np.concatenate(list(points(axes).values()))
    return found[np.lexsort(found.T)]


def in_order(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    pairs = np.column_stack([x, y])
    return pairs[np.lexsort(pairs.T)]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def texts(figure: Figure) -> str:
    return " ".join(t.get_text() for ax in figure.axes for t in [*ax.texts, ax.title])


def assert_drawn(figure: Figure, folder: Path, colours: int = 20) -> None:
    with Image.open(save(figure, folder / "figure.png")) as image:
        assert image.size == tuple(np.round(figure.get_size_inches() * 200).astype(int))
        assert len(image.convert("RGB").getcolors(2**24)) > colours


def test_artefact_map_separates_removed_and_draws_the_boxes(world, tmp_path: Path):
    x, y = world
    removed = x > 1
    regions = [(1.0, -3.0, 4.0, 3.0), (8.0, 8.0, 9.0, 9.5)]
    removed_cutout = np.full((8, 8, 3), 90, np.uint8)
    figure = artefact_map(x, y, removed, regions, [(removed_cutout, "blank")])
    plate, axes = figure.axes
    shown = points(axes)
    kept_label, removed_label = f"kept ({(~removed).sum()})", f"removed ({removed.sum()})"
    assert np.array_equal(shown[kept_label], np.column_stack([x, y])[~removed])
    assert np.array_equal(shown[removed_label], np.column_stack([x, y])[removed])
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [kept_label, removed_label, "artefact region"]
    assert [t.get_text() for t in plate.texts] == ["removed", "blank"]
    assert (np.asarray(plate.images[0].get_array()) == removed_cutout).all()
    assert [p.get_bbox().extents.tolist() for p in axes.patches] == [list(r) for r in regions]
    above = min(p.get_zorder() for p in axes.patches) > max(c.get_zorder() for c in axes.collections)
    assert above, "a small box is hidden by what it removes"
    assert_drawn(figure, tmp_path)
    assert axes.get_xlim()[1] > 9 and axes.get_ylim()[1] > 9.5, "a box is outside the picture"


def test_cluster_map_writes_each_number_on_a_member(world, tmp_path: Path):
    x, y = world
    cluster = np.arange(60) % 5
    cluster[cluster == 4] = -1
    figure = cluster_map(x, y, cluster)
    (axes,) = figure.axes
    assert sorted(t.get_text() for t in axes.texts) == ["0", "1", "2", "3"]
    for text in axes.texts:
        members = np.column_stack([x, y])[cluster == int(text.get_text())]
        assert (members == text.get_position()).all(axis=1).any()
    for k in range(4):
        assert np.array_equal(points(axes)[str(k)], np.column_stack([x, y])[cluster == k])
    assert np.array_equal(all_points(axes), in_order(x, y))
    assert_drawn(figure, tmp_path)


def test_clusters_picked_out_are_coloured_numbered_and_shown_beside(world, tmp_path: Path):
    x, y = world
    cluster = np.arange(60) % 4
    cutouts = [np.full((6, 6, 1), v, np.uint8) for v in (40, 80)]
    figure = cluster_examples(x, y, cluster, [ClusterExamples(2, "spirals", cutouts), ClusterExamples(0, "odd", [])])
    plate, axes = figure.axes
    colours = {tuple(c.get_facecolor()[0][:3].round(3)): np.asarray(c.get_offsets()) for c in axes.collections}
    sizes = sorted(len(points) for points in colours.values())
    assert sizes == [15, 15, 30], "the two others lie together in grey"
    assert any(np.array_equal(found, np.column_stack([x, y])[cluster == 2]) for found in colours.values())
    assert sorted(t.get_text() for t in axes.texts) == ["0", "2"]
    assert [t.get_text() for t in plate.texts] == ["2: spirals", "0: odd"]
    assert [int(image.get_array().max()) for image in plate.images] == [40, 80]
    assert_drawn(figure, tmp_path)


def test_a_flat_map_of_anomalies_keeps_a_panel_that_can_be_read():
    x = np.linspace(0, 10, 50)
    figure = anomaly_maps(x, np.zeros(50), x > 8, x)
    width, height = (np.ptp(limits) for limits in (figure.axes[0].get_xlim(), figure.axes[0].get_ylim()))
    assert width > 10 and height == pytest.approx(0.8 * width)


def test_cluster_numbers_keep_apart_where_clusters_overlap():
    x, y = np.random.default_rng(0).normal(size=(2, 2000))
    (axes,) = cluster_map(x, y, np.arange(2000) % 12).axes
    places = np.array([t.get_position() for t in axes.texts])
    distance = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))[np.triu_indices(12, 1)]
    assert distance.min() > 0.04 * np.hypot(np.ptp(x), np.ptp(y))


def test_twenty_one_clusters_have_as_many_colours():
    x, y = np.random.default_rng(0).normal(size=(2, 63))
    (axes,) = cluster_map(x, y, np.arange(63) % 21).axes
    colours = {tuple(np.round(c.get_facecolor()[0][:3], 3)) for c in axes.collections if len(c.get_offsets())}
    assert len(colours) == 21


def test_class_map_names_and_marks_every_class(world, tmp_path: Path):
    x, y = world
    label = ["spiral", "edge_on", None] * 20
    figure = class_map(x, y, label, "imagenet")
    (axes,) = figure.axes
    assert legend(figure) == ["edge on", "spiral", "no class"]
    for name, stored in (("edge on", "edge_on"), ("spiral", "spiral"), ("no class", None)):
        members = [found == stored for found in label]
        assert np.array_equal(points(axes)[name], np.column_stack([x, y])[members])
    outlines = {c.get_label(): c.get_paths()[0].vertices.shape for c in axes.collections}
    assert outlines["edge on"] != outlines["spiral"], "classes differ in colour only"
    assert_drawn(figure, tmp_path)


def test_rarest_class_lies_on_top(world):
    label = np.array(["common"] * 55 + ["rare"] * 5)
    (axes,) = class_map(*world, label, "").axes
    order = {c.get_label(): c.get_zorder() for c in axes.collections}
    assert order["rare"] > order["common"]


def test_start_weights_share_markers_and_tell_their_accuracy(world, tmp_path: Path):
    x, y = world
    one = {"x": x, "y": y, "label": ["FRI", "FRII"] * 30, "title": "random", "accuracy": 0.614}
    two = {"x": y, "y": x, "label": ["FRII", None] * 30, "title": "imagenet", "accuracy": float("nan")}
    three = {"x": NOTHING, "y": NOTHING, "label": [], "title": "rgz", "accuracy": 0.8}
    figure = start_weight_panel([one, two, three])
    assert [ax.get_title() for ax in figure.axes] == [
        "random: cluster accuracy 61.4%",
        "imagenet: cluster accuracy unknown",
        "rgz: cluster accuracy 80.0%",
    ]
    assert legend(figure) == ["FRI", "FRII", "no class"]
    colours = [
        next(c.get_facecolor()[0].tolist() for c in ax.collections if c.get_label() == "FRII") for ax in figure.axes[:2]
    ]
    assert colours[0] == colours[1]
    assert np.array_equal(points(figure.axes[1])["FRII"], np.column_stack([y, x])[::2])
    assert "no galaxies on the map" in texts(figure)
    assert_drawn(figure, tmp_path)


def test_anomaly_maps_show_truth_and_score(world, tmp_path: Path):
    x, y = world
    score = np.arange(60.0)
    score[10] = np.nan
    figure = anomaly_maps(x, y, x > 1, score)
    left, right = figure.axes[:2]
    drawn = [np.asarray(c.get_offsets()) for c in left.collections]
    assert np.array_equal(drawn[1], np.column_stack([x, y])[x > 1])
    assert left.get_title() == f"true anomalies ({(x > 1).sum()} of 60)"
    coloured = next(c for c in right.collections if c.get_array() is not None)
    known = np.isfinite(score)
    assert np.array_equal(coloured.get_array(), score[known]), "the highest score is drawn last"
    assert np.array_equal(np.asarray(coloured.get_offsets()), np.column_stack([x, y])[known])
    assert_drawn(figure, tmp_path)


def test_galaxies_without_coordinates_are_left_out(world):
    x, y = world
    x = x.copy()
    x[:7] = np.nan
    for figure in (
        artefact_map(x, y, np.zeros(60, bool), [], []),
        cluster_map(x, y, np.zeros(60, int)),
        class_map(x, y, ["a", None] * 30, ""),
        anomaly_maps(x, y, np.zeros(60, bool), y),
    ):
        assert np.array_equal(
            all_points(figure.axes[-1] if figure.axes[0].axison is False else figure.axes[0]), in_order(x[7:], y[7:])
        )


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (lambda: artefact_map(NOTHING, NOTHING, NOTHING, [], []), "no images on the map"),
        (lambda: cluster_map(NOTHING, NOTHING, NOTHING), "no galaxies on the map"),
        (lambda: cluster_map(np.full(3, np.nan), np.zeros(3), np.arange(3)), "no galaxies on the map"),
        (lambda: class_map(NOTHING, NOTHING, [], "t"), "no galaxies on the map"),
        (lambda: class_map(np.ones(2), np.ones(2), [None, None], "t"), "no galaxy has a class"),
        (lambda: start_weight_panel([]), "no start weights have a map yet"),
        (lambda: anomaly_maps(NOTHING, NOTHING, NOTHING, NOTHING), "no galaxies on the map"),
        (lambda: anomaly_maps(np.arange(3), np.arange(3), np.zeros(3, bool), np.ones(3)), "no true anomalies"),
        (lambda: anomaly_maps(np.ones(1), np.ones(1), [True], np.array([np.nan])), "no anomaly scores"),
    ],
)
def test_odd_input_gives_words(figure, words: str, tmp_path: Path):
    drawn = figure()
    assert words in texts(drawn)
    assert_drawn(drawn, tmp_path, colours=5)


@pytest.mark.parametrize(
    "figure",
    [
        lambda: artefact_map(np.ones(1), np.ones(1), np.array([True]), [(0, 0, 2, 2)], []),
        lambda: cluster_map(np.ones(1), np.ones(1), np.array([4])),
        lambda: class_map(np.ones(1), np.ones(1), ["$5$ _odd"], "$unbalanced _title"),
        lambda: anomaly_maps(np.ones(1), np.ones(1), np.array([True]), np.ones(1)),
    ],
)
def test_a_single_galaxy_is_drawn(figure, tmp_path: Path):
    assert_drawn(figure(), tmp_path, colours=5)


def test_points_shrink_with_their_number():
    sizes = []
    for n in (10, 1_000, 100_000):
        x = np.linspace(0, 1, n)
        (axes,) = cluster_map(x, x, np.zeros(n, int)).axes
        sizes.append(next(c.get_sizes()[0] for c in axes.collections if c.get_label() == "0"))
    assert sizes[0] > sizes[1] > sizes[2] > 0
