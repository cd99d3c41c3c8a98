"""A survey's positions, ranking, clusters and features as a HATS catalogue, which LSDB cross-matches.

Belongs here: the rows, and what `hats-import` is asked for. Does not belong here: the format, which is its own, and
other exports (`export`).
"""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from galaxy_assets.lake.export import about_export
from galaxy_assets.lake.meanings import meanings, said_in, with_meanings
from galaxy_assets.lake.similar import open_survey, read_survey_table
from galaxy_assets.science.galaxy_ids import places
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import new_folder
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table

_ORDER = 8  # finest HEALPix order of a partition: 0.05 square degrees
_RANKING = ("rank", "score", "score_std")


class Written(NamedTuple):
    """What was written.

    Attributes
    ----------
    n : int
        Galaxies.
    without_position : int
        Clean galaxies that were left out.
    catalogue : Path
        Folder of the HATS catalogue.
    """

    n: int
    without_position: int
    catalogue: Path


def export_hats(
    survey: str, folder: Path | str, *, per_partition: int = 1_000_000, root: Path | str | None = None
) -> Written:
    """Write the clean galaxies of a survey that have a position as a HATS catalogue.

    A new folder, whole or absent, takes `about.json` and the catalogue, a folder called as the survey. Its columns are
    galaxy_id, batch, ra, dec, label, cluster and its probability, rank, score, score_std, and `components`, the
    principal components of the main start weights as a list. One batch is held at a time.

    Parameters
    ----------
    survey : str
        Its name.
    folder : Path or str
        Must be absent or empty; `~` is the home folder.
    per_partition : int
        Galaxies in one file at most.
    root : Path or str, optional
        The data folder; $GALAXY_ASSETS_DATA, else ./data, when not given.

    Returns
    -------
    Written

    Raises
    ------
    SurveyError
        For an unknown survey.
    ValueError
        Without the extra `hats`, where no galaxy has a position, and where hats-import fails.
    FileExistsError
        For a folder with something in it.
    FileNotFoundError
        Where the survey was not run that far.
    NotWritten
        Where the disk is full or may not be written.
    """
    try:
        import hats_import as hats_import
    except ImportError as error:
        remedy = "install the extra: pip install 'galaxy-assets[hats]'"
        raise ValueError(f"HATS cannot be written without hats-import ({error}); {remedy}") from error
    folder = Path(folder).expanduser()
    layout, known = open_survey(survey, root)
    start = known.main_start_weights
    pattern = f"pca_features/[!.]*/{start}"
    about = about_export(layout, known, [pattern], start) | {"what": "hats"}
    with new_folder(folder) as partial:
        (work := partial / ".work").mkdir()
        inputs, n, left_out = _write_inputs(layout, known, pattern, work)
        if not n:
            raise ValueError(f"{survey}: no clean galaxy has a position; name ra_column and dec_column in its YAML")
        _import(inputs, partial / survey, work, n, per_partition)
        about |= {"rows": n, "without_position": left_out, "columns": meanings(_schema(inputs[0]))}
        shutil.rmtree(work)
        (partial / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return Written(n, left_out, folder / survey)


def _write_inputs(layout: Layout, survey: Survey, pattern: str, folder: Path) -> tuple[list[Path], int, int]:
    """A Parquet file for each batch that has galaxies with positions; how many they are, and how many have none."""
    start = survey.main_start_weights
    ranking = read_survey_table(layout, survey, "anomaly_ranking")
    said: dict[str, tuple[str, str]] = {}
    for table in ("catalogue/[!.]*", f"cluster_labels/[!.]*/{start}", "anomaly_ranking"):
        said |= said_in(layout, survey.name, table)
    files, n, left_out = [], 0, 0
    import pyarrow.parquet as pq

    for features in sorted((layout.lake / survey.name).glob(f"{pattern}.parquet")):
        batch = features.parent.name
        rows = _rows(layout, survey, batch, read_table(features), ranking)
        there = rows.filter(pc.and_kleene(pc.is_finite(rows["ra"]), pc.is_finite(rows["dec"])))
        n, left_out = n + there.num_rows, left_out + rows.num_rows - there.num_rows
        if there.num_rows:
            files.append(folder / f"{len(files):06d}.parquet")
            # what is said of each column alone: hats-import copies all that is said of the first file to all of its own
            pq.write_table(with_meanings(there.replace_schema_metadata(None), said), files[-1])
    return files, n, left_out


def _rows(layout: Layout, survey: Survey, batch: str, features: pa.Table, ranking: pa.Table) -> pa.Table:
    """What is known of the galaxies of a batch, a row for each."""
    ids, start = features["galaxy_id"], survey.main_start_weights
    catalogue = _of_batch(layout, survey, "catalogue", batch, names=["ra", "dec", "label"])
    clusters = _of_batch(layout, survey, "cluster_labels", batch, start, names=["cluster", "probability"])
    columns = {"galaxy_id": ids, "batch": features["batch"]}
    parts = ((catalogue, ("ra", "dec", "label")), (clusters, ("cluster", "probability")), (ranking, _RANKING))
    for other, names in parts:
        at = places(other["galaxy_id"], ids)
        columns |= {name: other[name].take(pa.array(at, mask=at < 0)) for name in names}
    columns["components"] = features["vector"].cast(pa.list_(pa.float32()))
    return pa.table(columns)


def _of_batch(layout: Layout, survey: Survey, table: str, *of: str, names: list[str]) -> pa.Table:
    """Columns of a batch's table, with galaxy_id. Raises FileNotFoundError where a run has not come that far."""
    path = layout.table(survey.name, table, *of)
    if not path.exists():
        raise FileNotFoundError(
            f"{survey.name} is not finished: batch {of[0]} has no {table}; `galaxy-assets run {survey.name}` makes it"
        )
    return read_table(path, ["galaxy_id", *names])


def _import(inputs: list[Path], catalogue: Path, work: Path, n: int, per_partition: int) -> None:
    """Let hats-import write the catalogue, in threads of this process: nothing listens at a port. Raises ValueError."""
    from dask.distributed import Client
    from hats_import.catalog.arguments import ImportArguments
    from hats_import.pipeline import pipeline_with_client

    arguments = ImportArguments(
        output_path=catalogue.parent,
        output_artifact_name=catalogue.name,
        input_file_list=list(inputs),
        file_reader="parquet",
        use_schema_file=inputs[0],
        ra_column="ra",
        dec_column="dec",
        sort_columns="galaxy_id",
        highest_healpix_order=_ORDER,
        pixel_threshold=per_partition,
        expected_total_rows=n,
        tmp_dir=work,
        progress_bar=False,
    )
    with Client(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None, local_directory=str(work)
    ) as client:
        try:
            pipeline_with_client(arguments, client)
        except RuntimeError as error:
            raise ValueError(f"hats-import wrote no catalogue; its reason is above ({error})") from error


def _schema(file: Path) -> pa.Schema:
    import pyarrow.parquet as pq

    return pq.read_schema(file)
