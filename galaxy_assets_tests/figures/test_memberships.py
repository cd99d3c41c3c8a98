"""The picture of classes against clusters shows every share where it belongs."""

import pyarrow as pa

from galaxy_assets.figures.memberships import class_membership

ROWS = [
    {"evaluation_class": "edge_on", "cluster": 4, "n": 9, "share": 0.9, "labelled_as": "edge_on"},
    {"evaluation_class": "edge_on", "cluster": 2, "n": 1, "share": 0.1, "labelled_as": None},
    {"evaluation_class": "spiral", "cluster": 7, "n": 6, "share": 0.6, "labelled_as": "spiral"},
    {"evaluation_class": "spiral", "cluster": 4, "n": 4, "share": 0.4, "labelled_as": "edge_on"},
]


def test_clusters_stand_by_label_with_their_shares():
    figure = class_membership(pa.Table.from_pylist(ROWS))
    figure.canvas.draw()
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_xticklabels()] == ["4", "7", "2"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["edge on", "spiral"]
    assert axes.images[0].get_array().tolist() == [[0.9, 0, 0.1], [0.4, 0.6, 0]]
    written = [t.get_text() for t in axes.texts]
    assert written == ["90", "10", "40", "60", "edge on", "spiral", "no label"]


def test_without_classes_it_says_so():
    empty = pa.Table.from_pylist(ROWS).slice(0, 0)
    (axes,) = class_membership(empty).axes
    assert [t.get_text() for t in axes.texts] == ["no galaxy has a class"]
