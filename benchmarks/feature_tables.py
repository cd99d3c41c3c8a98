"""Reading the features of a survey from the lake's Parquet, beside pandas and the files that peers keep.

    OMP_NUM_THREADS=1 python benchmarks/feature_tables.py [--small]

Astronomaly keeps a data frame with a column per feature, as Parquet unless it is asked for CSV; both are read here.
They are of float64 in full, as a PCA gives them and Astronomaly keeps them; of float32 the CSV would be half as long
and read in half the time. The files are in the page cache; all sides end with ids and one float32 matrix.
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
    """The peer: a frame with a column per feature and the ids as its index."""
    frame = pd.read_csv(path, index_col=0) if path.suffix == ".csv" else pd.read_parquet(path)
    return frame.index.to_numpy(), frame.to_numpy(np.float32)


PEERS = {"csv": "pandas from CSV", "parquet": "pandas from Parquet, as Astronomaly keeps them"}
TARGETS = {"csv": 20}


def measure(small: bool) -> Iterator[Row]:
    """The principal components of the paper's survey."""
    n, rounds = (2_000, 2) if small else (232_000, 5)
    features, ids = components(n)[0], names(n)
    with tempfile.TemporaryDirectory() as folder:
        lake, frame = Path(folder) / "lake.parquet", pd.DataFrame(features.astype(np.float64), index=pd.Index(ids))
        frame.columns = frame.columns.astype(str)

        def written(m: int) -> Path:
            path = Path(folder) / f"{m}.parquet"
            write_table(pa.table({"galaxy_id": ids[:m], "vector": vectors_to_column(features[:m])}), path)
            return path

        def at(m: int):
            path = written(m)
            return lambda: ours(path)

        written(n).rename(lake)
        grown = growth(at, [n // 4, n // 2, n])
        frame.to_csv(Path(folder) / "features.csv")
        frame.to_parquet(Path(folder) / "features.parquet")
        for kind, peer in PEERS.items():
            theirs = Path(folder) / f"features.{kind}"
            found = compare(lambda: ours(lake), lambda: by_pandas(theirs), rounds=rounds)  # noqa: B023
            columns = found.columns()
            (a_ids, a), (b_ids, b) = found.our_answer, found.peer_answer
            yield Row(
                "feature_tables",
                f"reading features, {n:,} x {features.shape[1]}",
                n,
                peer,
                **columns,
                **grown,
                limit="copying the features once",
                share=2 * features.nbytes / 1e9 / columns["seconds"] / copying(small),
                equal=[
                    Equal("ids that differ", int((a_ids != b_ids).sum())),
                    Equal("largest difference", float(np.abs(a - b).max())),
                ],
                target_ratio=TARGETS.get(kind),
                note=f"{lake.stat().st_size / 1e6:.0f} MB in the lake, {theirs.stat().st_size / 1e6:.0f} MB {peer}",
            )


if __name__ == "__main__":
    main("feature_tables", measure)
