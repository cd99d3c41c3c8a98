"""The promises of each kind of plug-in, as functions that its author can call in a test.

    from galaxy_assets.plugins.contracts import check_cutter, check_learner, check_reader

    def test_my_reader(tmp_path):
        (tmp_path / "a.txt").write_text("1 2 3")
        check_reader("my_reader", {"options": {"columns": 3}}, tmp_path)

    def test_my_cutter():
        check_cutter("my_cutter", {"options": {"side": 40}})

    def test_my_learner():
        check_learner("my_learner")

The plug-in is found by its registered name, so its package must be installed. A broken promise is an AssertionError
that says which one; our own plug-ins are tested by the same functions.

Belongs here: one `check_` for each kind. Does not belong here: the promises in words (`protocols`), and tests of what a
plug-in is good for. The rooms are imported inside the functions, since this package is imported by all of them.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from galaxy_assets import plugins
from galaxy_assets.deliveries.delivery import batch_name

if TYPE_CHECKING:
    from galaxy_assets.plugins.protocols import Learner, Reader, ScoreModel
    from galaxy_assets.science.cutouts import Cutout
    from galaxy_assets.settings.cutouts import CutoutSettings


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
    from galaxy_assets.settings.source import Source

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


def _check_deliveries(reader: Reader) -> list[str]:
    found = reader.deliveries()
    names = [delivery.name for delivery in found]
    assert names == sorted(names), f"`deliveries` is not sorted by name: {names}"
    whole = sorted(delivery.name for delivery in found if delivery.state == "whole")
    batches = reader.batches()
    assert batches == whole, f"`batches` {batches} are not the names of the whole deliveries, sorted: {whole}"
    wrong = [batch for batch in batches if batch_name(batch) != batch]
    assert not wrong, f"names of deliveries have letters and digits of any script and _-. only, not {wrong}"
    unsaid = [delivery.name for delivery in found if delivery.state != "whole" and not delivery.reason]
    assert not unsaid, f"deliveries that are not whole have a reason, which {unsaid} have not"
    assert [d.snapshot for d in reader.deliveries()] == [d.snapshot for d in found], "snapshots differ without a change"
    return batches


def _check_catalogue(reader: Reader, batch: str) -> pa.Table:
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


def _check_taken_ids(reader: Reader, batch: str, ids: list[str]) -> None:
    taken = {one for one in ids if "#" not in one}
    elsewhere = reader.catalogue(batch, taken).to_pylist()
    kept = [row["galaxy_id"] for row in elsewhere if row["galaxy_id"] in taken]
    assert not kept, f"ids that images of other deliveries have are given again: {kept}"
    assert len(elsewhere) == len(ids), "images are lost where other deliveries have their ids"
    assert all(row["problem"] for row in elsewhere), "an id that is taken is no problem of the row"


def _check_unknown_delivery(reader: Reader, batches: list[str]) -> None:
    from galaxy_assets.settings.files import SurveyError

    unknown = "".join(batches) + "-unknown"
    try:
        reader.catalogue(unknown)
    except SurveyError:
        return
    raise AssertionError(f"the catalogue of a delivery {unknown!r}, which is not there, is no SurveyError")


def _check_images(reader: Reader, rows: list[dict[str, Any]]) -> None:
    from galaxy_assets.deliveries.images import UnreadableImage

    def decoded(row: dict[str, Any]) -> np.ndarray | None:
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
        kinds = np.uint8, np.float32, np.float64
        assert image.dtype in kinds, f"{row['file']} is {image.dtype}, not uint8, float32 or float64"
        assert not np.isinf(image).any(), f"{row['file']} has infinite values; pixels without data are NaN"
        stated = row["height"], row["width"]
        assert row["problem"] or image.shape[:2] == stated, f"{row['file']}: {image.shape}, catalogued as {stated}"
    with ThreadPoolExecutor(2) as pool:
        for row, image, beside in zip(rows, images, pool.map(decoded, rows), strict=True):
            same = beside is None if image is None else beside is not None and np.array_equal(image, beside, True)
            assert same, f"{row['file']} is read differently from two threads"


def _check_tables(reader: Reader) -> None:
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
    from galaxy_assets.settings.cutouts import CutoutSettings

    for grey in (False, True):
        chosen = CutoutSettings.model_validate((settings or {}) | {"method": name, "size": 48, "grey": grey})
        for what, image in _images().items():
            _check_one_image(image, chosen, f"{name} on {what}")
        _check_constant(chosen)


def _check_one_image(image: np.ndarray, settings: CutoutSettings, what: str) -> None:
    from galaxy_assets.science.cutouts import cut

    before = image.copy()
    made = plugins.load("cutters", settings.method)(image, settings)
    _check_cutout(made, image, settings, what)
    assert np.array_equal(np.ma.getdata(image), np.ma.getdata(before)), f"{what}: the image is changed"
    assert _same_cutout(made, cut(image, settings)), f"{what}: it is cut differently the second time"
    with ThreadPoolExecutor(2) as pool:
        beside = list(pool.map(cut, [image, image], [settings, settings]))
    assert all(_same_cutout(made, one) for one in beside), f"{what}: it is cut differently from two threads"


def _check_constant(settings: CutoutSettings) -> None:
    from galaxy_assets.science.cutouts import cut

    for value in (0, 255):
        blank = cut(np.full((40, 50, 3), value, np.uint8), settings)
        found = blank.outcome, blank.pixels, blank.box
        assert found == ("blank", None, None), f"{settings.method}: a constant image is {found}"


def _images() -> dict[str, np.ndarray]:
    """(H, W, 1 or 3): a round source off the middle of a noisy sky, gaps beside it, noise alone, one bright pixel."""
    from galaxy_assets.science.cutouts.nodata import without_gaps

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:90, :110]
    source = 150 * np.exp(-0.5 * (((x - 58) / 6) ** 2 + ((y - 42) / 5) ** 2)) + rng.normal(20, 3, (90, 110))
    grey = np.clip(source, 0, 255).astype(np.uint8)[..., np.newaxis]
    point = np.zeros((64, 64, 1), np.uint8)
    point[32, 32] = 255
    noise = rng.normal(0, 1, (70, 60, 1)).astype(np.float32)
    gaps = np.zeros(grey.shape, bool)
    gaps[:, :12] = gaps[60:70] = True
    return {
        "a grey image of 8 bits": grey,
        "8 bits with gaps": np.ma.MaskedArray(without_gaps(grey, gaps), mask=gaps),
        "a colour image of 8 bits": np.concatenate([grey, grey // 2, 255 - grey], axis=2),
        "a grey image of floats": (source[..., np.newaxis] * 1e-3 - 5).astype(np.float32),
        "a colour image of floats": np.stack([source, source / 2, -source], axis=2).astype(np.float32),
        "one bright pixel": point,
        "noise without a source": noise,
    }


def _check_cutout(made: Cutout, image: np.ndarray, settings: CutoutSettings, what: str) -> None:
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


def _same_cutout(one: Cutout, other: Cutout) -> bool:
    numbers = [(c.noise_std, c.threshold, c.contour_area, c.angle) for c in (one, other)]
    said = (one.outcome, one.box) == (other.outcome, other.box) and np.array_equal(*numbers, equal_nan=True)
    if one.pixels is None or other.pixels is None:
        return said and one.pixels is other.pixels
    return said and np.array_equal(one.pixels, other.pixels)


def check_learner(name: str) -> None:
    """Test the learner of the anomaly search that is registered under a name, on small made-up features.

    Parameters
    ----------
    name : str
        As in `[project.entry-points."galaxy_assets.learners"]`.

    Raises
    ------
    PluginError
        Where it is not registered or cannot be imported.
    AssertionError
        Where it breaks the promise of `protocols.Learner`, with the reason.
    """
    learner: Learner = plugins.load("learners", name)()
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(60, 5)) * [20, 5, 2, 1, 0.5]).astype(np.float32)
    scores = rng.integers(0, 6, 60).astype(float)
    scores[:2] = 0, 5  # differ from the second on
    assert isinstance(learner.keeps_scores_given, bool), "keeps_scores_given must be True or False"
    _check_columns(learner)
    assert learner.can_fit(scores), "can_fit must be true of many scores that differ"
    for world in (features, np.ones_like(features)):  # the second has constant components
        std = world.std(axis=0, dtype=np.float64)
        for count in (1, 2, 40):
            _check_fit(learner, world, scores[:count], std)
            _check_fit(learner, world, np.full(count, 3.0), std)  # flat scores
    _check_what_is_asked(learner, features, scores)


def _check_columns(learner: Learner) -> None:
    assert isinstance(learner.columns, pa.Schema), "columns must be a pyarrow Schema"
    taken = {"role", "galaxy_id", "score", "vector"} & set(learner.columns.names)
    assert not taken, f"columns may not hold {', '.join(sorted(taken))}: these are the platform's"


def _check_fit(learner: Learner, features: np.ndarray, scores: np.ndarray, std: np.ndarray) -> None:
    ready = learner.can_fit(scores)
    assert ready == learner.can_fit(scores.copy()), "can_fit must be the same for the same scores"
    if not ready:
        return
    given = features[: len(scores)].astype(np.float64), scores, std
    kept = [part.copy() for part in given]
    model = learner.fit(*given)
    mean, spread = _predicted(model, features)
    assert all(np.array_equal(a, b) for a, b in zip(given, kept, strict=True)), "fit may not change what it is given"
    again = _predicted(learner.fit(*kept), features)
    assert _same_prediction((mean, spread), again), (
        "fit must be deterministic: two fits to the same scores predict differently"
    )
    assert isinstance(model.kernel, str) and isinstance(model.at_bounds, tuple), "kernel is text, at_bounds a tuple"
    _predicted(model, features[:0])
    back = learner.table_to_model(_stored(model, learner, features.shape[1]), given[0], scores)
    assert _same_prediction((mean, spread), _predicted(back, features)), (
        "the model read back from its table predicts differently"
    )


def _predicted(model: ScoreModel, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, std = model.predict(features)
    for what, values in (("mean", mean), ("standard deviation", std)):
        expected = f"the {what} of predict must be (N,) float64"
        assert values.shape == (len(features),) and values.dtype == np.float64, f"{expected}, not {values.shape}"
        assert np.isfinite(values).all(), f"the {what} of predict must be finite"
    assert (std >= 0).all(), "a standard deviation may not be negative"
    return mean, std


def _same_prediction(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _stored(model: ScoreModel, learner: Learner, size: int) -> pa.Table:
    """The model's table after a round through Parquet, with all columns that the lake has for it."""
    import pyarrow.parquet as pq

    table = model.to_table()
    expected = pa.schema(
        [pa.field("role", pa.string()), *learner.columns, pa.field("vector", pa.list_(pa.float64(), size))]
    )
    unknown = set(table.column_names) - set(expected.names)
    assert not unknown, f"to_table has columns that `columns` does not name: {', '.join(sorted(unknown))}"
    assert "role" in table.column_names, "to_table must have a column `role`"
    taken = {"labelled", "reference"} & set(table["role"].to_pylist())
    assert not taken, f"rows of role {', '.join(sorted(taken))} are the platform's; choose another word"
    table = pa.concat_tables([expected.empty_table(), table], promote_options="default").select(expected.names)
    file = io.BytesIO()
    pq.write_table(table, file)
    return pq.read_table(file)


def _check_what_is_asked(learner: Learner, features: np.ndarray, scores: np.ndarray) -> None:
    """Ask in rounds of 7, each by the acquisition on all earlier scores, until every galaxy was asked once."""
    std, asked = features.std(axis=0, dtype=np.float64), np.arange(3)
    while len(asked) < len(features):
        value = np.arange(len(features), dtype=float)
        if learner.can_fit(scores[asked]):
            model = learner.fit(features[asked].astype(np.float64), scores[asked], std)
            mean, spread = model.predict(features)
            best = float(scores[asked].max())
            value = learner.acquisition(mean, spread, best, 0.5)
            assert value.shape == (len(features),) and np.isfinite(value).all(), "acquisition must be (N,) and finite"
            one_by_one = learner.acquisition(mean[asked], spread[asked], best, 0.5)
            assert np.array_equal(one_by_one, value[asked]), "acquisition must value each galaxy by itself"
        order = np.argsort(-value, kind="stable")
        asked = np.concatenate([asked, order[~np.isin(order, asked)][:7]])
    assert len(np.unique(asked)) == len(features), "every galaxy must be asked once"
