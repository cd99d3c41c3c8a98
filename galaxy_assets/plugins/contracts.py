"""The promises of each kind of plug-in, as functions that its author can call in a test.

    from galaxy_assets.plugins.contracts import check_cutter, check_reader

    def test_my_reader(tmp_path):
        (tmp_path / "a.txt").write_text("1 2 3")
        check_reader("my_reader", {"options": {"columns": 3}}, tmp_path)

    def test_my_cutter():
        check_cutter("my_cutter", {"options": {"side": 40}})

The plug-in is found by its registered name, so its package must be installed. A broken promise is an AssertionError
that says which one; our own plug-ins are tested by the same functions.

Belongs here: one `check_` for each kind. Does not belong here: the promises in words (`protocols`). The rooms are
imported inside the functions, since this package is imported by all of them.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from galaxy_assets import plugins

if TYPE_CHECKING:
    import pyarrow as pa

    from galaxy_assets.plugins.protocols import Reader
    from galaxy_assets.science.cutouts import Cutout
    from galaxy_assets.settings.survey import CutoutSettings


def check_reader(name: str, source_settings: dict[str, Any], folder: Path) -> None:
    """Assert that a reader keeps the promises of `protocols.Reader` on a survey of its layout.

    Parameters
    ----------
    name : str
        Registered in `galaxy_assets.readers`.
    source_settings : dict
        Settings of `Source` beside `reader` and `path`, such as `options`.
    folder : Path
        Holds at least one whole delivery with at least one image that can be read; or is not there yet, where the
        reader makes its deliveries itself.

    Raises
    ------
    AssertionError
        It says which promise is broken.
    """
    from galaxy_assets.deliveries.readers import open_reader, reader_in_place
    from galaxy_assets.settings.survey import Source

    source = Source.model_validate({"reader": name, "path": str(folder)} | source_settings)
    reader = open_reader(source, folder.parent)
    batches = _check_deliveries(reader)
    catalogues = [_check_catalogue(reader, batch) for batch in batches]
    _check_unknown_delivery(reader, batches)
    _check_images(reader, [row for catalogue in catalogues for row in catalogue.to_pylist()])
    _check_tables(reader)
    again = reader_in_place(source, folder.parent)
    assert again.batches() == batches, "a second reader of the same folder finds other batches"
    assert again.catalogue(batches[0]).equals(catalogues[0]), "a second reader makes another catalogue of a delivery"


def _check_deliveries(reader: "Reader") -> list[str]:
    found = reader.deliveries()
    names = [delivery.name for delivery in found]
    assert names == sorted(names), f"`deliveries` is not sorted by name: {names}"
    whole = sorted(delivery.name for delivery in found if delivery.state == "whole")
    batches = reader.batches()
    assert batches == whole, f"`batches` {batches} are not the names of the whole deliveries, sorted: {whole}"
    wrong = [batch for batch in batches if not re.fullmatch(r"[A-Za-z0-9_.-]+", batch)]
    assert not wrong, f"names of deliveries have letters, digits and _-. only, not {wrong}"
    unsaid = [delivery.name for delivery in found if delivery.state != "whole" and not delivery.reason]
    assert not unsaid, f"deliveries that are not whole have a reason, which {unsaid} have not"
    assert [d.snapshot for d in reader.deliveries()] == [d.snapshot for d in found], "snapshots differ without a change"
    return batches


def _check_catalogue(reader: "Reader", batch: str) -> "pa.Table":
    from galaxy_assets.deliveries.readers.catalogue import CATALOGUE_SCHEMA

    table = reader.catalogue(batch)
    assert table.schema.equals(CATALOGUE_SCHEMA), f"the catalogue has {table.schema}, not CATALOGUE_SCHEMA"
    ids = table["galaxy_id"].to_pylist()
    assert ids == sorted(ids), f"the catalogue of {batch} is not sorted by galaxy_id"
    assert len(set(ids)) == len(ids) and all(ids), f"ids of {batch} are not unique"
    assert set(table["batch"].to_pylist()) <= {batch}, f"rows of {batch} are of another batch"
    for row in table.to_pylist():
        assert row["file"], f"{row['galaxy_id']} has no file"
        assert (row["problem"] is None) == (row["reason"] is None), (
            f"{row['galaxy_id']}: a problem and no reason: {row}"
        )
        known = row["width"] and row["height"] and row["sha256"]
        assert row["problem"] or known, f"{row['galaxy_id']} has neither a problem nor size and sha256"
    _check_taken_ids(reader, batch, ids)
    return table


def _check_taken_ids(reader: "Reader", batch: str, ids: list[str]) -> None:
    taken = {one for one in ids if "#" not in one}
    elsewhere = reader.catalogue(batch, taken).to_pylist()
    kept = [row["galaxy_id"] for row in elsewhere if row["galaxy_id"] in taken]
    assert not kept, f"ids that images of other deliveries have are given again: {kept}"
    assert len(elsewhere) == len(ids), "images are lost where other deliveries have their ids"
    assert all(row["problem"] for row in elsewhere), "an id that is taken is no problem of the row"


def _check_unknown_delivery(reader: "Reader", batches: list[str]) -> None:
    from galaxy_assets.settings.survey import SurveyError

    unknown = "".join(batches) + "-unknown"
    try:
        reader.catalogue(unknown)
    except SurveyError:
        return
    raise AssertionError(f"the catalogue of a delivery {unknown!r}, which is not there, is no SurveyError")


def _check_images(reader: "Reader", rows: list[dict[str, Any]]) -> None:
    from galaxy_assets.deliveries.images import UnreadableImage

    def decoded(row: dict[str, Any]) -> "np.ndarray | None":
        try:
            return reader.image(row["file"])
        except UnreadableImage:
            return None

    images = [decoded(row) for row in rows]
    assert any(image is not None for image in images), "no image can be read; test with one that can"
    for row, image in zip(rows, images, strict=True):
        if image is None:
            continue
        assert image.ndim == 2 or image.shape[2:] == (3,), f"{row['file']} has the shape {image.shape}"
        assert image.dtype in (np.uint8, np.float32), f"{row['file']} is {image.dtype}, not uint8 or float32"
        stated = row["height"], row["width"]
        assert row["problem"] or image.shape[:2] == stated, f"{row['file']}: {image.shape}, catalogued as {stated}"
    with ThreadPoolExecutor(2) as pool:
        for row, image, beside in zip(rows, images, pool.map(decoded, rows), strict=True):
            same = beside is None if image is None else beside is not None and np.array_equal(image, beside, True)
            assert same, f"{row['file']} is read differently from two threads"


def _check_tables(reader: "Reader") -> None:
    from galaxy_assets.deliveries.readers.catalogue import LABELLED_SCHEMA

    labelled, votes, tables = reader.labelled(), reader.votes(), reader.tables()
    assert labelled is None or labelled.schema.equals(LABELLED_SCHEMA), "`labelled` has not LABELLED_SCHEMA"
    assert votes is None or {"galaxy_id", "total_votes"} <= set(votes.column_names), "`votes` is not in the normal form"
    assert all(isinstance(path, Path) for path in tables), f"`tables` are paths, not {tables}"


def check_cutter(name: str, settings: dict[str, Any] | None = None) -> None:
    """Assert that a cutter keeps the promises of `protocols.Cutter` on grey, colour, 8-bit and float images.

    Parameters
    ----------
    name : str
        Registered in `galaxy_assets.cutters`.
    settings : dict, optional
        Settings of `CutoutSettings` beside `method`, `size` and `grey`, such as `options`.

    Raises
    ------
    AssertionError
        It says which promise is broken.
    """
    from galaxy_assets.settings.survey import CutoutSettings

    for grey in (False, True):
        chosen = CutoutSettings.model_validate((settings or {}) | {"method": name, "size": 48, "grey": grey})
        for what, image in _images().items():
            _check_one_image(image, chosen, f"{name} on {what}")
        _check_constant(chosen)


def _check_one_image(image: np.ndarray, settings: "CutoutSettings", what: str) -> None:
    from galaxy_assets.science.cutouts import cut

    before = image.copy()
    made = plugins.load("cutters", settings.method)(image, settings)
    _check_cutout(made, image, settings, what)
    assert np.array_equal(image, before), f"{what}: the image is changed"
    assert _same(made, cut(image, settings)), f"{what}: it is cut differently the second time"
    with ThreadPoolExecutor(2) as pool:
        beside = list(pool.map(cut, [image, image], [settings, settings]))
    assert all(_same(made, one) for one in beside), f"{what}: it is cut differently from two threads"


def _check_constant(settings: "CutoutSettings") -> None:
    from galaxy_assets.science.cutouts import cut

    for value in (0, 255):
        blank = cut(np.full((40, 50, 3), value, np.uint8), settings)
        found = blank.outcome, blank.pixels, blank.box
        assert found == ("blank", None, None), f"{settings.method}: a constant image is {found}"


def _images() -> dict[str, np.ndarray]:
    """(H, W, 1 or 3): a round source off the middle of a noisy sky, noise alone, and one bright pixel."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:90, :110]
    source = 150 * np.exp(-0.5 * (((x - 58) / 6) ** 2 + ((y - 42) / 5) ** 2)) + rng.normal(20, 3, (90, 110))
    grey = np.clip(source, 0, 255).astype(np.uint8)[..., np.newaxis]
    point = np.zeros((64, 64, 1), np.uint8)
    point[32, 32] = 255
    noise = rng.normal(0, 1, (70, 60, 1)).astype(np.float32)
    return {
        "a grey image of 8 bits": grey,
        "a colour image of 8 bits": np.concatenate([grey, grey // 2, 255 - grey], axis=2),
        "a grey image of floats": (source[..., np.newaxis] * 1e-3 - 5).astype(np.float32),
        "a colour image of floats": np.stack([source, source / 2, -source], axis=2).astype(np.float32),
        "one bright pixel": point,
        "noise without a source": noise,
    }


def _check_cutout(made: "Cutout", image: np.ndarray, settings: "CutoutSettings", what: str) -> None:
    from galaxy_assets.science.cutouts import OUTCOMES, WITHOUT_PIXELS

    own = made.outcome.startswith(settings.method)
    assert made.outcome in OUTCOMES or own, (
        f"{what}: the outcome {made.outcome!r} is unknown, and not {settings.method}*"
    )
    if made.outcome in WITHOUT_PIXELS:
        assert made.pixels is None and made.box is None, f"{what}: pixels or a box with the outcome {made.outcome!r}"
        return
    assert made.pixels is not None and made.box is not None, f"{what}: {made.outcome!r} without pixels or without a box"
    shape = settings.size, settings.size, 1 if settings.grey else 3
    assert made.pixels.shape == shape, f"{what}: pixels are {made.pixels.shape}, not {shape}"
    assert made.pixels.dtype == np.uint8, f"{what}: pixels are {made.pixels.dtype}, not uint8"
    (x0, y0, x1, y1), (height, width) = made.box, image.shape[:2]
    assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height, f"{what}: the box {made.box} leaves {width} x {height}"


def _same(one: "Cutout", other: "Cutout") -> bool:
    numbers = [(c.noise_std, c.threshold, c.contour_area, c.angle) for c in (one, other)]
    said = (one.outcome, one.box) == (other.outcome, other.box) and np.array_equal(*numbers, equal_nan=True)
    if one.pixels is None or other.pixels is None:
        return said and one.pixels is other.pixels
    return said and np.array_equal(one.pixels, other.pixels)
