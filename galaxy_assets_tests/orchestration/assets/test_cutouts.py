"""Which pixels are made anew: those of other files or settings, whatever the labels."""

import numpy as np
import pyarrow as pa

from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.orchestration.assets import cutouts
from galaxy_assets.orchestration.assets.cutouts import cut_chunk, fallen_back, few_levels, outcomes, pixels_fingerprint
from galaxy_assets.science.cutouts import cut
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.source import Source
from galaxy_assets.settings.survey import Survey
from galaxy_assets_tests.conftest import TINY

CATALOGUE = {"galaxy_id": ["a"], "file": ["a.png"], "sha256": ["1f"], "problem": pa.array([None], pa.string())}
SIDES = {"width": [64], "height": [64]}


def test_pixels_are_those_of_the_files_content_whatever_the_labels():
    survey = Survey.model_validate(TINY)

    def fingerprint(survey: Survey = survey, **changed: list) -> str:
        return pixels_fingerprint(pa.table(CATALOGUE | SIDES | {"label": ["round"], "ra": [1.0]} | changed), survey)

    plain = fingerprint()
    assert fingerprint(label=["long"]) == fingerprint(ra=[2.0]) == plain
    others = {name: fingerprint(**{name: ["other"]}) for name in CATALOGUE}
    others["not square"] = fingerprint(width=[65])
    others["cutout"] = fingerprint(Survey.model_validate(TINY | {"cutout": {"size": 64}}))
    for key, value in {"bands": ["g"], "extension": "SCI", "colour": "linear"}.items():
        others[key] = fingerprint(Survey.model_validate(TINY | {"source": TINY["source"] | {key: value}}))
    assert len({plain, *others.values()}) == len(others) + 1


def test_a_share_of_cutouts_with_few_levels_is_of_those_shown():
    table = pa.table(
        {"levels": pa.array([3, 32, 90, None], pa.int32()), "box_x0": pa.array([0, 0, 0, None], pa.int32())}
    )
    assert few_levels(table) == 1 / 3
    assert few_levels(table.slice(3)) == few_levels(table.select(["box_x0"])) == 0


def test_the_ledger_says_what_share_has_no_data(tmp_path):
    values = np.random.default_rng(0).normal(5, 1, (40, 40)).astype(np.float32)
    values[:, :10] = np.nan
    np.save(tmp_path / "a.npy", values)
    reader = open_reader(Source(reader="image_folder", path=str(tmp_path)), tmp_path)
    settings = CutoutSettings(method="whole", size=40, grey=True)
    pixels, ledger = cut_chunk(reader, reader.catalogue("images").to_pylist(), settings, "x")
    row = ledger.to_pylist()[0]
    assert (row["nodata_fraction"], row["outcome"]) == (0.25, "whole") and row["levels"] < 32
    assert np.ptp(pixels[0, :, :9]) < np.ptp(pixels[0, :, 10:]) / 2


def test_the_share_that_kept_its_frame_is_of_all_images():
    names = ["cropped"] * 5 + ["fallback_edge", "fallback_no_contour", "unreadable", "blank", "whole"]
    table = pa.table({"outcome": names})
    assert fallen_back(table) == 0.2 and outcomes(table)["cropped"] == 5
    assert fallen_back(table.slice(0, 0)) == 0


def test_an_image_on_which_a_library_fails_is_a_row_and_the_others_are_cut(tmp_path, monkeypatch, caplog):
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).normal(5, 1, (40, 40)).astype(np.float32))
    reader = open_reader(Source(reader="image_folder", path=str(tmp_path)), tmp_path)
    settings, asked = CutoutSettings(method="whole", size=40, grey=True), []

    def fails_once(image, settings):
        asked.append(image)
        if len(asked) == 1:
            raise ValueError("cannot convert float NaN to integer")
        return cut(image, settings)

    monkeypatch.setattr(cutouts, "cut", fails_once)
    _, ledger = cut_chunk(reader, reader.catalogue("images").to_pylist(), settings, "x")
    assert sorted(ledger["outcome"].to_pylist()) == ["unreadable", "whole"]
    assert "cannot be cut: cannot convert float NaN" in str(ledger["reason"].drop_null()[0])


def test_where_clipping_leaves_nothing_of_a_frame_it_keeps_its_frame():
    frame = np.zeros((40, 40, 1), np.uint8)
    frame[20:] = 200
    assert cut(frame, CutoutSettings(method="sigma_clip", sigma=0.5, grey=True)).outcome in (
        "fallback_edge",
        "fallback_no_contour",
        "cropped",
    )
