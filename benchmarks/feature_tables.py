"""Reading the features of a survey from the lake's Parquet, beside pandas and the CSV that peers keep.

    OMP_NUM_THREADS=1 python benchmarks/feature_tables.py [--small]

The files are in the page cache; both sides end with ids and one float32 matrix. The CSV is of float64 in full, as a PCA
gives and Astronomaly keeps them; of float32 it would be half as long and read in half the time.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from side_by_side import Equal, Row, compare, copying, growth, main
from simulated import components, names

from galaxy_assets.storage.tables import column_to_vectors, read_table, vectors_to_column, write_table


def ours(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """As an asset reads `pca_features`."""
    table = read_table(path)
    return table["galaxy_id"].to_numpy(zero_copy_only=False), column_to_vectors(table["vector"])


def by_pandas(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The peer."""
    frame = pd.read_csv(path, index_col=0)
    return frame.index.to_numpy(), frame.to_numpy(np.float32)


def measure(small: bool) -> Iterator[Row]:
    """The principal components of the paper's survey."""
    n, rounds = (2_000, 2) if small else (232_000, 5)
    features, ids = components(n)[0], names(n)
    with tempfile.TemporaryDirectory() as folder:
        parquet, csv = Path(folder) / "features.parquet", Path(folder) / "features.csv"

        def written(m: int) -> Path:
            path = Path(folder) / f"{m}.parquet"
            write_table(pa.table({"galaxy_id": ids[:m], "vector": vectors_to_column(features[:m])}), path)
            return path

        written(n).rename(parquet)
        pd.DataFrame(features.astype(np.float64), index=pd.Index(ids)).to_csv(csv)
        found = compare(lambda: ours(parquet), lambda: by_pandas(csv), rounds=rounds)
        columns = found.columns()
        (a_ids, a), (b_ids, b) = found.our_answer, found.peer_answer

        def at(m: int):
            path = written(m)
            return lambda: ours(path)

        yield Row(
            "feature_tables",
            f"reading features, {n:,} x {features.shape[1]}",
            n,
            "pandas from CSV",
            **columns,
            **growth(at, [n // 4, n // 2, n]),
            limit="copying the features once",
            share=2 * features.nbytes / 1e9 / columns["seconds"] / copying(small),
            equal=[
                Equal("ids that differ", int((a_ids != b_ids).sum())),
                Equal("largest difference", float(np.abs(a - b).max())),
            ],
            target_ratio=20,
            note=f"{parquet.stat().st_size / 1e6:.0f} MB as Parquet, {csv.stat().st_size / 1e6:.0f} MB as CSV",
        )


if __name__ == "__main__":
    main("feature_tables", measure)
