"""Similarity search over the lake: more galaxies like these, given by id, as files, or both (paper 7.2).

Belongs here: from what a person points at to the answer, without Dagster. Does not belong here: the rule of the search
(`science.neighbours`), the same in SQL (`lake.read_model`), arguments and printing (`cli`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.readers import decode_file
from galaxy_assets.science import pca
from galaxy_assets.science.cutouts import cut
from galaxy_assets.science.neighbours import most_similar
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.checkpoints import chosen_checkpoint
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStore, resize
from galaxy_assets.storage.tables import column_to_vectors, read_table

if TYPE_CHECKING:
    from PIL.Image import Image


def similar(
    survey: str,
    *,
    ids: Sequence[str] = (),
    files: Sequence[Path | str] = (),
    neighbours: int = 8,
    root: Path | str | None = None,
) -> pa.Table:
    """The galaxies of a survey most like the examples; of several examples the nearest counts (`most_similar`).

    Parameters
    ----------
    survey : its name.
    ids : examples that are galaxies of the survey; they are no answers.
    files : examples as PNG, JPEG or FITS files from anywhere. They are cut, embedded by the chosen checkpoint of the
        main start weights and projected like the survey's own; their pixel scale should be the survey's too.
    neighbours : how many to return.
    root : the data folder; $GALAXY_ASSETS_DATA, else ./data, when not given.

    Returns rank (int32, from 1), query_id (the example it is nearest to: an id, or a file as given), neighbour_id,
    distance (float64) and file (of the original, as in `catalogue`), nearest first.

    Raises SurveyError for an unknown survey, ValueError for an id that is no clean galaxy (with the rule that removed
    it) or a checkpoint that is not its ledger's, UnreadableImage for a file, FileNotFoundError where the survey was not
    run that far.
    """
    import pyarrow.compute as pc

    layout, known = open_survey(survey, root)
    features = read_survey_table(layout, known, f"pca_features/[!.]*/{known.main_start_weights}")
    rows = _rows(layout, known, features["galaxy_id"], ids)
    vectors = column_to_vectors(features["vector"])
    examples, names = vectors[rows], [*ids, *map(str, files)]
    if files:
        examples = np.vstack([examples, _features(layout, known, files)])
    if not names:
        raise ValueError("no example given: name a galaxy or an image file")
    order = sorted(range(len(names)), key=lambda i: names[i])  # the first of equally near ones, as in SQL
    galaxies = features["galaxy_id"].to_numpy(zero_copy_only=False)
    found, distances, nearest = most_similar(vectors, galaxies, examples[order], neighbours, rows)
    catalogue = read_survey_table(layout, known, "catalogue/[!.]*")
    answers = features["galaxy_id"].take(found)
    return pa.table(
        {
            "rank": pa.array(range(1, len(found) + 1), pa.int32()),
            "query_id": pa.array([names[order[i]] for i in nearest], pa.string()),
            "neighbour_id": answers,
            "distance": distances,
            "file": catalogue["file"].take(pc.index_in(answers, value_set=catalogue["galaxy_id"])),
        }
    )


def sheet(
    survey: str,
    found: pa.Table,
    *,
    ids: Sequence[str] = (),
    files: Sequence[Path | str] = (),
    root: Path | str | None = None,
) -> "Image":
    """The cutouts of the examples and then of what `similar` found for them, with their distances, as an image."""
    import pyarrow.compute as pc

    from galaxy_assets.figures.galleries import contact_sheet

    layout, known = open_survey(survey, root)
    cutouts = read_survey_table(layout, known, "cutouts/[!.]*")
    shown = pa.array([*ids, *found["neighbour_id"].to_pylist()], pa.string())
    stored = PixelStore(layout.pixels(survey)).of(cutouts)[pc.index_in(shown, value_set=cutouts["galaxy_id"])]
    images = [*stored[: len(ids)], *(_cutout(file, known) for file in files), *stored[len(ids) :]]
    captions = ["query"] * (len(ids) + len(files)) + [f"{distance:.3g}" for distance in found["distance"].to_pylist()]
    return contact_sheet(images, captions, columns=9)


def open_survey(survey: str, root: Path | str | None) -> tuple[Layout, Survey]:
    """The data folder and the survey of this name.

    Raises SurveyError for an unknown one, which lists the known, and for one whose file is broken, with the reason.
    """
    layout = Layout(Path(root)) if root is not None else Layout.default()
    return layout, survey_files(layout.root).named(survey)


def read_survey_table(layout: Layout, survey: Survey, table: str) -> pa.Table:
    """A table of the survey, or all its partitions that match the pattern, in the order of their names.

    Raises FileNotFoundError, which says what makes it, where there is none.
    """
    paths = sorted((layout.lake / survey.name).glob(f"{table}.parquet"))
    if not paths:
        name, init = table.split("/")[0], _start_weights(survey, table)
        raise FileNotFoundError(
            f"{survey.name} is not finished: no {name} of {init} start weights; "
            f"`galaxy-assets run {survey.name}` makes it"
        )
    return pa.concat_tables(read_table(path).replace_schema_metadata(None) for path in paths)


def _start_weights(survey: Survey, table: str) -> str:
    """Those that a table's pattern names last, else the main ones."""
    last = table.split("/")[-1]
    return last if last in survey.start_weights else survey.main_start_weights


def _rows(layout: Layout, survey: Survey, galaxies: pa.ChunkedArray, ids: Sequence[str]) -> np.ndarray:
    """Rows of the examples among the clean galaxies, (len(ids),) int64."""
    import pyarrow.compute as pc

    rows = pc.index_in(pa.array(ids, pa.string()), value_set=galaxies)
    unknown = [galaxy for galaxy, row in zip(ids, rows.to_pylist(), strict=True) if row is None]
    if unknown:
        clean = read_survey_table(layout, survey, "clean_galaxies/[!.]*")
        rules = dict(zip(clean["galaxy_id"].to_pylist(), clean["rule"].to_pylist(), strict=True))
        raise ValueError("; ".join(_why(galaxy, rules, survey) for galaxy in unknown))
    return rows.to_numpy().astype(np.int64)


def _why(galaxy: str, rules: dict[str, str | None], survey: Survey) -> str:
    """Why a galaxy has no features, by the rules of `clean_galaxies`."""
    if galaxy not in rules:
        return f"no galaxy {galaxy} in {survey.name}"
    if rules[galaxy] is not None:
        return f"{galaxy} is no clean galaxy of {survey.name}: removed by the rule {rules[galaxy]!r} of clean_galaxies"
    return f"{galaxy} is not embedded yet: `galaxy-assets run {survey.name}`"


def _cutout(file: Path | str, survey: Survey) -> np.ndarray:
    made = cut(decode_file(Path(file)), survey.cutout)
    if made.pixels is None:
        raise UnreadableImage(f"{file}: every channel is constant, there is nothing to look for")
    return made.pixels


def _features(layout: Layout, survey: Survey, files: Sequence[Path | str]) -> np.ndarray:
    """Principal components of image files, (len(files), K) float32."""
    from galaxy_assets.science.encoders.network import choose_devices, embed, load_encoder

    pixels = np.stack([resize(_cutout(file, survey), survey.recipe.image_size) for file in files])
    main = survey.main_start_weights
    _, checkpoint = chosen_checkpoint(read_survey_table(layout, survey, f"byol_checkpoints/{main}"), layout.root)
    features = embed(
        load_encoder(checkpoint), pixels, device=choose_devices()[0], orientations=survey.recipe.orientations
    )
    return pca.table_to_model(read_survey_table(layout, survey, f"pca_model/{main}")).transform(features)
