"""Our own readers and cutters keep the promises that plug-ins make, and broken ones are found out."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets import plugins
from galaxy_assets.deliveries.readers.image_folder import ImageFolder
from galaxy_assets.plugins.contracts import check_cutter, check_reader
from galaxy_assets.science.cutouts import cut, cutters
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.source import Source
from galaxy_assets_tests.deliveries.test_folder_readers import put, put_fits, put_labels
from galaxy_assets_tests.deliveries.test_mirabest import archive, members

CUTTERS: dict[str, dict[str, Any]] = {
    "sigma_clip": {},
    "flux_radius": {"align": True},
    "central": {"central_pixels": 30},
    "whole": {},
}


@pytest.mark.parametrize(("name", "settings"), CUTTERS.items())
def test_our_cutters_keep_their_promises(name, settings):
    check_cutter(name, settings)


def test_every_cutter_and_reader_of_ours_is_tested_here():
    assert plugins.names("cutters") == sorted(CUTTERS)
    ours = {"image_folder", "fits_folder", "galaxy_zoo_decals", "mirabest", "simulated"}
    assert set(plugins.names("readers")) == ours


def test_image_folder_keeps_its_promises(tmp_path):
    put(tmp_path / "survey/one/a.png")
    put(tmp_path / "survey/one/deep/a.png")
    (tmp_path / "survey/one/broken.png").write_bytes(b"not an image")
    put(tmp_path / "survey/two/b.jpg")
    put_labels(tmp_path / "survey/labels.csv", ("a", "spiral"))
    check_reader("image_folder", {"labels": "labels.csv"}, tmp_path / "survey")


def test_fits_folder_keeps_its_promises(tmp_path):
    data = np.random.default_rng(0).normal(size=(3, 20, 24)).astype(np.float32)
    put_fits(tmp_path / "survey/images/a.fits", data)
    put_fits(tmp_path / "survey/images/b.fits", data[0])
    check_reader("fits_folder", {}, tmp_path / "survey")


def test_galaxy_zoo_keeps_its_promises(tmp_path):
    put(tmp_path / "gz/part1/J004/J004544.11-005037.5.png")
    put(tmp_path / "gz/J074/J074349.15+291154.5.png")
    check_reader("galaxy_zoo_decals", {}, tmp_path / "gz")


def test_mirabest_keeps_its_promises(tmp_path):
    check_reader("mirabest", {}, archive(tmp_path / "MiraBest_F_batches.tar.gz", members()))


@pytest.mark.parametrize("simulate", ["optical", "radio"])
def test_a_simulated_survey_keeps_its_promises(tmp_path, simulate):
    settings = {"simulate": simulate, "n_images": 4, "batches": ["one", "two"]}
    check_reader("simulated", settings, tmp_path / "demo")


class Unsorted(ImageFolder):
    """Its deliveries come in no order."""

    def deliveries(self, quiet: float = 0):
        return super().deliveries(quiet)[::-1]


class Twice(ImageFolder):
    """It gives an image an id that another delivery's has."""

    def catalogue(self, batch, taken=()):
        return super().catalogue(batch)


class Lenient(ImageFolder):
    """It makes an empty catalogue of a delivery that is not there."""

    def catalogue(self, batch, taken=()):
        known = [one.name for one in self.deliveries()]
        return super().catalogue(batch, taken) if batch in known else super().catalogue(known[0]).slice(0, 0)


class Lying(ImageFolder):
    """It gives pixels of another shape than the catalogue states."""

    def image(self, file):
        return super().image(file)[:-1]


class Bare(ImageFolder):
    """Its catalogue lacks a column."""

    def catalogue(self, batch, taken=()) -> pa.Table:
        return super().catalogue(batch, taken).drop_columns(["reason"])


@pytest.mark.parametrize(
    ("reader", "says"),
    [
        (Unsorted, "not sorted by name"),
        (Twice, "given again"),
        (Lenient, "is no SurveyError"),
        (Lying, "catalogued as"),
        (Bare, "not CATALOGUE_SCHEMA"),
    ],
)
def test_a_reader_that_breaks_a_promise_is_found_out(tmp_path, monkeypatch, reader, says):
    put(tmp_path / "survey/one/a.png")
    put(tmp_path / "survey/two/b.png")
    whole = plugins.load
    monkeypatch.setattr(plugins, "load", lambda kind, name: reader if kind == "readers" else whole(kind, name))
    with pytest.raises(AssertionError, match=says):
        check_reader("image_folder", {}, tmp_path / "survey")


def _of(change) -> Any:
    return lambda image, settings: change(cutters.cut_nothing(image, settings))


_calls = []
BROKEN = {
    "the outcome 'mine' is unknown": _of(lambda made: replace(made, outcome="mine")),
    "leaves 110 x 90": _of(lambda made: replace(made, box=(0, 0, 111, 90))),
    "pixels are .*float64": _of(lambda made: replace(made, pixels=made.pixels / 2)),
    r"pixels are \(1, 1, 3\)": _of(lambda made: replace(made, pixels=made.pixels[:1, :1])),
    "without pixels": _of(lambda made: replace(made, pixels=None)),
    "the image is changed": lambda image, settings: (image.sort(axis=0), cutters.cut_nothing(image, settings))[1],
    "differently the second time": _of(lambda made: replace(made, threshold=_calls.append(0) or float(len(_calls)))),
}


@pytest.mark.parametrize("says", BROKEN)
def test_a_cutter_that_breaks_a_promise_is_found_out(monkeypatch, says):
    whole = plugins.load
    monkeypatch.setattr(plugins, "load", lambda kind, name: BROKEN[says] if kind == "cutters" else whole(kind, name))
    monkeypatch.setattr("galaxy_assets.science.cutouts._cutter", lambda method: BROKEN[says])
    with pytest.raises(AssertionError, match=says):
        check_cutter("whole")


@pytest.mark.parametrize("says", [name for name in BROKEN if "pixels" in name or "outcome" in name])
def test_a_cutout_that_would_spoil_the_pixel_store_is_an_error_that_names_the_cutter(monkeypatch, says):
    monkeypatch.setattr("galaxy_assets.science.cutouts._cutter", lambda method: BROKEN[says])
    image = np.arange(6400, dtype=np.float32).reshape(80, 80)
    with pytest.raises(plugins.PluginError, match="cutters plug-in 'whole' gives"):
        cut(image, CutoutSettings(method="whole", size=48))


def test_a_cutter_may_have_an_outcome_of_its_own_name(monkeypatch):
    monkeypatch.setattr(
        "galaxy_assets.science.cutouts._cutter", lambda method: _of(lambda made: replace(made, outcome="whole_tile"))
    )
    own = cut(np.arange(6400, dtype=np.float32).reshape(80, 80), CutoutSettings(method="whole", size=48))
    assert own.outcome == "whole_tile"


def test_options_are_for_plug_ins_of_other_packages():
    with pytest.raises(ValueError, match="reader 'image_folder' has no options"):
        Source.model_validate({"reader": "image_folder", "path": "x", "options": {"suffix": "gif"}})
    with pytest.raises(ValueError, match="cutout method 'whole' has no options"):
        CutoutSettings.model_validate({"method": "whole", "options": {"side": 3}})
