"""Similarity search over the lake: more galaxies like these, given by id, as files, or both (paper 7.2).

Belongs here: from what a person points at to the answer, without Dagster. Does not belong here: the rule of the search
(`science.neighbours`), the same in SQL (`lake.read_model`), arguments and printing (`cli`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.readers import decode_file
from galaxy_assets.lake.light import needs_the_whole
from galaxy_assets.science import pca
from galaxy_assets.science.cutouts import cut
from galaxy_assets.science.galaxy_ids import places
from galaxy_assets.science.neighbours import most_similar_in_turn
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.checkpoints import chosen_checkpoint, load_encoder
from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStore, resize
from galaxy_assets.storage.similarity import SimilarityIndex, feature_blocks, index_path, open_index
from galaxy_assets.storage.tables import read_table, rows_of
from galaxy_assets.storage.trials import in_force

if TYPE_CHECKING:
    from PIL.Image import Image

log = logger(__name__)


def similar(
    survey: str,
    *,
    ids: Sequence[str] = (),
    files: Sequence[Path | str] = (),
    neighbours: int = 8,
    exact: bool = False,
    root: Path | str | None = None,
) -> pa.Table:
    """The galaxies of a survey most like the examples; of several examples the nearest counts (`most_similar`).

    Parameters
    ----------
    survey : str
        Its name.
    ids : sequence of str
        Examples that are galaxies of the survey; they are no answers.
    files : sequence of Path or str
        Examples as PNG, JPEG or FITS files from anywhere. They are cut, embedded by the chosen checkpoint of the main
        start weights and projected like the survey's own; their pixel scale should be the survey's too.
    neighbours : int
        How many to return.
    exact : bool
        Read every galaxy of a large survey too, of which the index reads some (docs/similarity.md).
    root : Path or str, optional
        The data folder; $GALAXY_ASSETS_DATA, else ./data, when not given.

    Returns
    -------
    pyarrow.Table
        Nearest first: rank (int32, from 1), query_id (the example it is nearest to: an id, or a file as given),
        neighbour_id, distance (float64) and file (of the original, as in `catalogue`).

    Raises
    ------
    SurveyError
        For an unknown survey.
    ValueError
        For an id that is no clean galaxy, with the rule that removed it; for a checkpoint that is not its ledger's.
    UnreadableImage
        For a file.
    FileNotFoundError
        Where the survey was not run that far.
    PrintableError
        For files where the light half of the package is installed alone (docs/installing.md).

    Examples
    --------
    Three galaxies of a lake that `galaxy-assets run` would have made:

    >>> import tempfile
    >>> from galaxy_assets.storage.tables import vectors_to_column, write_table
    >>> layout, galaxies = Layout(Path(tempfile.mkdtemp())), pa.array(["a", "b", "c"])
    >>> vectors = vectors_to_column(np.array([[0.0, 0.0], [5.0, 0.0], [3.0, 0.0]], np.float32))
    >>> features = pa.table({"galaxy_id": galaxies, "vector": vectors})
    >>> write_table(features, layout.table("demo_radio", "pca_features", "2026_01", "imagenet"))
    >>> catalogue = pa.table({"galaxy_id": galaxies, "file": ["a.png", "b.png", "c.png"]})
    >>> write_table(catalogue, layout.table("demo_radio", "catalogue", "2026_01"))
    >>> found = similar("demo_radio", ids=["a"], root=layout.root)
    >>> found.select(["neighbour_id", "distance"]).to_pydict()
    {'neighbour_id': ['c', 'b'], 'distance': [3.0, 5.0]}
    """
    layout, known = open_survey(survey, root)
    others = _of_files(layout, known, files) if files else []
    near = nearest(layout, known, known.main_start_weights, ids, neighbours, others, exact=exact)
    answers = pa.array(near.ids, pa.string())
    catalogue = tables_with(table_files(layout, known, "catalogue/[!.]*"), answers, ["galaxy_id", "file"])
    at = places(catalogue["galaxy_id"], answers)
    return pa.table(
        {
            "rank": pa.array(range(1, len(answers) + 1), pa.int32()),
            "query_id": pa.array(near.examples, pa.string()),
            "neighbour_id": answers,
            "distance": pa.array(near.distances, pa.float64()),
            "file": catalogue["file"].take(pa.array(at, mask=at < 0)),
        }
    )


def _of_files(layout: Layout, survey: Survey, files: Sequence[Path | str]) -> list[tuple[str, np.ndarray]]:
    """Image files by the names they were given, with their features (D,)."""
    needs_the_whole("a search by image files", "torch", "timm", "cv2", "safetensors")
    return list(zip(map(str, files), _features(layout, survey, pixels_of(layout, survey, files)), strict=True))


class Near(NamedTuple):
    """Answers, nearest first.

    Attributes
    ----------
    ids : list of str
        Galaxies found.
    distances : list of float
        In feature space.
    examples : list of str
        The name of the example that each is nearest to.
    """

    ids: list[str]
    distances: list[float]
    examples: list[str]


def nearest(
    layout: Layout,
    survey: Survey,
    start: str,
    ids: Sequence[str],
    neighbours: int,
    others: Sequence[tuple[str, np.ndarray]] = (),
    *,
    exact: bool = False,
) -> Near:
    """The galaxies most like any of several examples by the features of one start weight.

    They are read block by block; of a survey from `similarity.exact_below` galaxies on that has an index, some cells.

    Parameters
    ----------
    layout : Layout
        The data folder.
    survey : Survey
        The survey whose galaxies are searched.
    start : str
        Start weights of the features.
    ids : sequence of str
        Examples that are galaxies of the survey; they are no answers.
    neighbours : int
        How many to return.
    others : sequence of (str, numpy.ndarray)
        Examples from elsewhere: their names and features (D,), of the same start weights.
    exact : bool
        Miss none, whatever the size of the survey.

    Returns
    -------
    Near
        At most `neighbours` answers; between examples at the same distance the first by name counts, as in SQL.

    Raises
    ------
    FileNotFoundError
        Where the survey has no features of these start weights.
    ValueError
        For an id that is no clean galaxy, with the rule that removed it, or without any example.
    """
    files = table_files(layout, survey, f"pca_features/[!.]*/{start}")
    index = _index(layout, survey, start, files)
    own = index.vectors_of(ids) if index is not None else {}
    if len(own) < len({*ids}):
        own = _vectors_of(layout, survey, files, ids)
    examples = sorted([*own.items(), *others], key=lambda example: example[0])
    if not examples:
        raise ValueError("no example given: name a galaxy or an image file")
    vectors = np.stack([vector for _, vector in examples])
    if index is None:
        blocks = ((names.to_numpy(zero_copy_only=False), features) for names, features in feature_blocks(files))
        found, distances, which = most_similar_in_turn(blocks, vectors, neighbours, own)
    else:
        found, distances, which = index.nearest(vectors, neighbours, own, exact=exact)
    pa.default_memory_pool().release_unused()  # a server would hold the most that any search needed
    return Near(found.tolist(), distances.tolist(), [examples[i][0] for i in which])


def sheet(
    survey: str,
    found: pa.Table,
    *,
    ids: Sequence[str] = (),
    files: Sequence[Path | str] = (),
    root: Path | str | None = None,
) -> "Image":
    """The cutouts of the examples and then of what `similar` found for them, with their distances.

    Parameters
    ----------
    survey : str
        Its name.
    found : pyarrow.Table
        As `similar` returned it.
    ids, files : sequence
        The examples that `similar` was given.
    root : Path or str, optional
        The data folder; $GALAXY_ASSETS_DATA, else ./data, when not given.

    Returns
    -------
    PIL.Image.Image
        RGB, nine cutouts in a row.
    """
    from galaxy_assets.figures.galleries import contact_sheet

    if files:
        needs_the_whole("a sheet of image files", "cv2")
    layout, known = open_survey(survey, root)
    shown = [*ids, *found["neighbour_id"].to_pylist()]
    columns = ["galaxy_id", "batch", "pixels"]
    cutouts = tables_with(table_files(layout, known, "cutouts/[!.]*"), pa.array(shown, pa.string()), columns)
    stored = PixelStore(layout.pixels(survey)).of(cutouts)[rows_of(cutouts, shown)]
    cut_alike = in_force(layout, known)
    images = [*stored[: len(ids)], *(_cutout(file, cut_alike) for file in files), *stored[len(ids) :]]
    captions = ["query"] * (len(ids) + len(files)) + [f"{distance:.3g}" for distance in found["distance"].to_pylist()]
    return contact_sheet(images, captions, columns=9)


def open_survey(survey: str, root: Path | str | None) -> tuple[Layout, Survey]:
    """The data folder and the survey of this name.

    Parameters
    ----------
    survey : str
        Its name.
    root : Path, str or None
        The data folder; None for $GALAXY_ASSETS_DATA, else ./data.

    Returns
    -------
    layout : Layout
    survey : Survey

    Raises
    ------
    SurveyError
        For an unknown survey, with the known ones; for one whose file is broken, with the reason.
    """
    layout = Layout.at(root)
    return layout, survey_files(layout.root).named(survey)


def read_survey_table(layout: Layout, survey: Survey, table: str) -> pa.Table:
    """A table of the survey, or all its partitions that match the pattern, in the order of their names.

    Parameters
    ----------
    layout : Layout
        The data folder.
    survey : Survey
        The survey.
    table : str
        Path below the survey's folder of the lake without `.parquet`, such as `pca_features/[!.]*/imagenet`.

    Returns
    -------
    pyarrow.Table
        Without metadata.

    Raises
    ------
    FileNotFoundError
        Where there is none; says what makes it.
    """
    paths = table_files(layout, survey, table)
    return pa.concat_tables(read_table(path).replace_schema_metadata(None) for path in paths)


def tables_with(files: Sequence[Path], galaxies: pa.Array, columns: Sequence[str]) -> pa.Table:
    """Those files of a table that hold any of these galaxies, whole; they are read one after the other.

    Parameters
    ----------
    files : sequence of Path
        At least one.
    galaxies : pyarrow.Array
        Ids.
    columns : sequence of str
        Columns wanted, `galaxy_id` among them.

    Returns
    -------
    pyarrow.Table
        In the order of the files, without metadata.
    """
    import pyarrow.compute as pc

    tables = (read_table(path, columns).replace_schema_metadata(None) for path in files)
    found = [table for table in tables if pc.any(pc.is_in(table["galaxy_id"], galaxies)).as_py()]
    return pa.concat_tables(found or [read_table(files[0], columns)[:0]])


def table_files(layout: Layout, survey: Survey, table: str) -> list[Path]:
    """The files that `read_survey_table` reads, in the order of their names; parameters and errors are its."""
    paths = sorted((layout.lake / survey.name).glob(f"{table}.parquet"))
    if not paths:
        name, *_, last = table.split("/") * 2
        of = f" of {last} start weights" if last in survey.start_weights else ""
        raise FileNotFoundError(
            f"{_how_far(layout, survey)}: no {name}{of}; `galaxy-assets run {survey.name}` makes it"
        )
    return paths


def _how_far(layout: Layout, survey: Survey) -> str:
    """Whether a survey whose table is missing was ever run."""
    begun = (layout.lake / survey.name).is_dir()
    return f"{survey.name} is not finished" if begun else f"{survey.name} was never run"


def _index(layout: Layout, survey: Survey, start: str, files: Sequence[Path]) -> SimilarityIndex | None:
    """The index of just these features, for a survey that is large enough; None where none was made, or is damaged."""
    try:
        index = open_index(index_path(layout, survey.name, start, files))
    except DamagedFile as error:
        log.warning("%s; every galaxy is read instead", error)
        return None
    return index if index is not None and index.galaxies >= survey.similarity.exact_below else None


def _vectors_of(layout: Layout, survey: Survey, files: Sequence[Path], ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Features (D,) of the examples, by id. Raises ValueError for one that has none."""
    import pyarrow.compute as pc

    wanted, found = list(dict.fromkeys(ids)), {}
    for names, features in feature_blocks(files) if wanted else ():
        for row in np.flatnonzero(pc.is_in(names, pa.array(wanted, names.type))):
            found[names[row].as_py()] = features[row]
    if unknown := [galaxy for galaxy in wanted if galaxy not in found]:
        clean = read_survey_table(layout, survey, "clean_galaxies/[!.]*").to_pylist()
        rules = {row["galaxy_id"]: None if row["kept"] else row["rule"] for row in clean}
        raise ValueError("; ".join(_why(galaxy, rules, survey) for galaxy in unknown))
    return found


def _why(galaxy: str, rules: dict[str, str | None], survey: Survey) -> str:
    """Why a galaxy has no features, by the rules of `clean_galaxies`."""
    if galaxy not in rules:
        return f"no galaxy {galaxy} in {survey.name}; its table `catalogue` lists the ids"
    if rules[galaxy] is not None:
        return f"{galaxy} is no clean galaxy of {survey.name}: removed by the rule {rules[galaxy]!r} of clean_galaxies"
    return f"{galaxy} is not embedded yet: `galaxy-assets run {survey.name}`"


def _cutout(file: Path | str, survey: Survey) -> np.ndarray:
    made = cut(decode_file(Path(file), survey.source), survey.cutout)
    if made.pixels is None:
        raise UnreadableImage(f"{file}: every channel is constant, there is nothing to look for; give another image")
    return made.pixels


def pixels_of(layout: Layout, survey: Survey, files: Sequence[Path | str]) -> np.ndarray:
    """Image files as the survey's own images go into its network; torch is not loaded for it.

    Parameters
    ----------
    layout : Layout
        The data folder.
    survey : Survey
    files : sequence of Path or str

    Returns
    -------
    ndarray of shape (len(files), S, S, 3), uint8
        S is the recipe's `image_size`.

    Raises
    ------
    UnreadableImage
        For a file.
    FileNotFoundError
        Where the survey's trials were not made.
    """
    survey = in_force(layout, survey)
    return np.stack([resize(_cutout(file, survey), survey.recipe.image_size) for file in files])


def near_pixels(layout: Layout, survey: Survey, name: str, pixels: np.ndarray, count: int) -> "Near":
    """The galaxies most like one image.

    Parameters
    ----------
    layout : Layout
    survey : Survey
    name : str
        Of the image, for the answer.
    pixels : ndarray of shape (1, S, S, 3), uint8
        From `pixels_of`.
    count : int
        Galaxies to return.

    Returns
    -------
    Near

    Raises
    ------
    ValueError
        For a checkpoint that is not its ledger's.
    FileNotFoundError
        Where the survey was not run that far.
    """
    others = [(name, _features(layout, survey, pixels)[0])]
    return nearest(layout, survey, survey.main_start_weights, [], count, others)


def _features(layout: Layout, survey: Survey, pixels: np.ndarray) -> np.ndarray:
    """Principal components of images, (N, K) float32."""
    from galaxy_assets.science.devices import choose_devices
    from galaxy_assets.science.encoders.embedding import embed

    main, survey = survey.main_start_weights, in_force(layout, survey)
    _, checkpoint = chosen_checkpoint(read_survey_table(layout, survey, f"byol_checkpoints/{main}"), layout.root)
    features = embed(
        load_encoder(checkpoint),
        pixels,
        device=choose_devices()[0],
        orientations=survey.recipe.orientations,
        precision=survey.recipe.embedding_precision,
    )
    return pca.table_to_model(read_survey_table(layout, survey, f"pca_model/{main}")).transform(features)
