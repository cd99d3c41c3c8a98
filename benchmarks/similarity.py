"""One similarity search, beside scikit-learn's and beside the SQL of the read model.

    OMP_NUM_THREADS=1 python benchmarks/similarity.py [--small]

As many galaxies as the paper has clean images. scikit-learn's search is built before, outside the time.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from side_by_side import Equal, Row, compare, copying, growth, main
from simulated import components, names
from sklearn.neighbors import NearestNeighbors

from galaxy_assets.lake import connect
from galaxy_assets.lake.read_model import publish
from galaxy_assets.orchestration.graph import EXPLORER
from galaxy_assets.science.neighbours import SimilaritySearch
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import vectors_to_column, write_table

NEIGHBOURS = 8


def measure(small: bool) -> Iterator[Row]:
    """Searches for several galaxies, one by one; a call is one search after the other."""
    n, queries, rounds = (4_000, 2, 1) if small else (232_000, 5, 7)
    features, _ = components(n)
    ids = names(n)
    search = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(features)
    each = range(queries)
    ready = {m: SimilaritySearch(features[:m], ids[:m]) for m in (n // 4, n // 2, n)}

    def alone(row: int, m: int = n) -> list[str]:
        return list(ids[ready[m].most_similar(features[[row]], NEIGHBOURS, [row])[0]])

    def ours() -> list[list[str]]:
        return [alone(row) for row in each]

    def peer() -> list[list[str]]:
        return [list(ids[search.kneighbors(features[[row]])[1][0, 1:]]) for row in each]

    found = compare(ours, peer, rounds=rounds)
    columns = per_search(found.columns(), queries)
    yield Row(
        "similarity",
        "one similarity search",
        n,
        "scikit-learn",
        **columns,
        **growth(lambda m: lambda: alone(0, m), [n // 4, n // 2, n]),
        limit="reading the features once",
        share=2 * features.nbytes / 1e9 / columns["seconds"] / copying(small),
        equal=[Equal("neighbours that differ", differ(found.our_answer, found.peer_answer))],
        target_ratio=9,
    )
    with tempfile.TemporaryDirectory() as root:
        sql = by_sql(Path(root), features, ids, each)
        found = compare(ours, sql, rounds=rounds)
        yield Row(
            "similarity",
            "one similarity search, beside SQL",
            n,
            "similar_to in DuckDB, from Parquet",
            **per_search(found.columns(), queries),
            equal=[Equal("neighbours that differ", differ(found.our_answer, found.peer_answer))],
        )


def per_search(columns: dict, queries: int) -> dict:
    """Columns of a call that searched several times, for one search."""
    names = ("seconds", "cpu_seconds", "peer_seconds", "peer_cpu_seconds")
    return columns | {name: columns[name] / queries for name in names}


def differ(ours: list[list[str]], peer: list[list[str]]) -> int:
    """How many places of the answers hold another galaxy."""
    return sum(a != b for mine, theirs in zip(ours, peer, strict=True) for a, b in zip(mine, theirs, strict=True))


def by_sql(root: Path, features: np.ndarray, ids: np.ndarray, rows: range) -> Callable[[], list[list[str]]]:
    """The same search by the read model's macro; each call opens it, as a person's session does."""
    layout = Layout(root)
    columns = {"galaxy_id": ids, "init": ["imagenet"] * len(ids), "vector": vectors_to_column(features)}
    write_table(pa.table(columns), layout.table("sdss_gz1", "pca_features", "all", "imagenet"))
    publish(layout, EXPLORER)

    def search() -> list[list[str]]:
        question = "select neighbour_id from sdss_gz1.similar_to(?, ?) order by rank"
        with connect(root) as lake:
            return [[g for (g,) in lake.execute(question, [[ids[row]], NEIGHBOURS]).fetchall()] for row in rows]

    return search


if __name__ == "__main__":
    main("similarity", measure)
