"""What is kept of a person's changes and shared selections, beside what the browser's tests see."""

import numpy as np
import pytest

from galaxy_assets.explorer import selections
from galaxy_assets.explorer.changes import Changes
from galaxy_assets.explorer.tab import Place
from galaxy_assets.explorer.view import PRETRAINED, OpenLake, View
from galaxy_assets.storage.layout import Layout
from galaxy_assets_tests.explorer.small_lake import NAME, write_small_lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> OpenLake:
    return OpenLake(write_small_lake(tmp_path_factory.mktemp("changes") / "data"))


def test_the_last_change_is_ones_own_and_not_taken_back_and_outlasts_the_process(tmp_path):
    layout = Layout(tmp_path)
    changes = Changes(layout, NAME)
    assert changes.last_by("ann") is None
    first = changes.made(
        "ann", "cluster", "what cluster 1 is", [None, None, None], ["é", None, True], about="imagenet/1"
    )
    second = changes.made("ann", "artefacts", "the rule", None, "x0,y0\n")
    changes.made("bob", "artefacts", "the rule", "x0,y0\n", None)
    other = Changes(layout, NAME)
    assert other.last_by("ann") == second and [c.who for c in other.all()] == ["ann", "ann", "bob"]
    other.made("ann", "artefacts", "taken back: the rule", "x0,y0\n", None, undoes=second.change)
    assert changes.last_by("ann") == first, "a change that was taken back is passed over, and so is taking back"
    assert changes.last_by("ann").after == ["é", None, True]
    (next(iter(changes.folder.glob("*.json")))).with_name("30000101T000000000000-x.json").write_text("{broken")
    assert Changes(layout, NAME).last_by("ann") == first


def test_a_selection_is_the_same_galaxies_on_every_map(lake):
    first, second = View(lake, NAME, "imagenet"), View(lake, NAME, PRETRAINED)
    rows = np.array([7, 3, 11], np.int32)
    name = "0123456789abcdef"
    assert selections.read(first, name) is None
    selections.keep(first, name, rows, "inside the lasso", None)
    for view in (first, second):
        kept = selections.read(view, name)
        assert kept is not None and kept.words == "inside the lasso" and kept.found is None
        assert [view.ids[int(r)].as_py() for r in kept.rows] == ["g07", "g03", "g11"]
    selections.keep(first, "f" * 16, rows, "most like g07", {7: 0.0, 3: 1.5, 11: 2.0})
    kept = selections.read(second, "f" * 16)
    assert kept is not None and kept.found is not None
    assert [(second.ids[r].as_py(), d) for r, d in kept.found.items()] == [("g07", 0.0), ("g03", 1.5), ("g11", 2.0)]


@pytest.mark.parametrize("name", ["", "../../secret", "0123456789ABCDEF", "0" * 17, "0123456789abcde\n"])
def test_a_name_that_is_none_reads_no_file(lake, name):
    with pytest.raises(ValueError, match="is no name of a selection"):
        selections.read(View(lake, NAME, "imagenet"), name)


@pytest.mark.parametrize(
    ("said", "names"), [("", []), ('["a", "b"]', ["a", "b"]), ("[1,", []), ("[1, null]", []), ("3", [])]
)
def test_hidden_names_are_read_from_any_address(said, names):
    assert Place(hide=said).hidden() == names
