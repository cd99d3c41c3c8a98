"""The DuckDB read model: a schema per survey and a view per asset over its Parquet files.

Belongs here: publishing and opening it. Does not belong here: any data of its own; the file can always be rebuilt.
"""

import logging
from pathlib import Path

import duckdb

from galaxy_assets.atomic import replacing
from galaxy_assets.lake.layout import Layout

log = logging.getLogger(__name__)

_NOT_TABLES = {"pixels", "checkpoints", "figures", "worksheets"}


def _quoted(name: str, mark: str = '"') -> str:
    return mark + name.replace(mark, 2 * mark) + mark


def publish(layout: Layout) -> list[str]:
    """Rebuild the read model beside the live file and swap it in by rename; returns the views' names.

    Readers that have the old file open keep their snapshot and never wait.
    """
    views = []
    with replacing(layout.read_model) as partial, duckdb.connect(partial) as connection:
        for survey in sorted(path for path in layout.lake.glob("[!.]*") if path.is_dir()):
            connection.execute(f"create schema {_quoted(survey.name)}")
            assets = {p.stem: p for p in survey.glob("[!.]*.parquet")}
            assets |= {p.name: p / "**" / "[!.]*.parquet" for p in survey.glob("[!.]*") if p.is_dir()}
            for name, files in sorted(assets.items()):
                if name in _NOT_TABLES or (files.suffix != ".parquet") or not _any_file(survey, name):
                    continue
                view = f"{_quoted(survey.name)}.{_quoted(name)}"
                source = f"read_parquet({_quoted(str(files), chr(39))}, union_by_name=true, hive_partitioning=false)"
                connection.execute(f"create view {view} as select * from {source}")
                views.append(f"{survey.name}.{name}")
    log.info("read model: %d views in %s", len(views), layout.read_model)
    return views


def _any_file(survey: Path, name: str) -> bool:
    return (survey / f"{name}.parquet").exists() or any((survey / name).rglob("[!.]*.parquet"))


def connect(root: Path | str | None = None) -> duckdb.DuckDBPyConnection:
    """Open the read model read-only: `connect().sql("select * from demo_optical.anomaly_ranking order by rank")`.

    Parameters
    ----------
    root : the data folder; $GALAXY_ASSETS_DATA, else ./data, when not given.

    Raises FileNotFoundError where nothing was published there yet.
    """
    layout = Layout(Path(root)) if root is not None else Layout.default()
    if not layout.read_model.exists():
        raise FileNotFoundError(f"{layout.read_model}: no read model yet; run a survey first (`make demo`)")
    return duckdb.connect(layout.read_model, read_only=True)
