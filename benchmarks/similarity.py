"""Seconds of one similarity search, beside scikit-learn's brute force and the SQL of the read model.

    OMP_NUM_THREADS=1 python benchmarks/similarity.py

As many galaxies as the paper has clean images. The turns alternate and the ids found must
be the same; what is printed are medians of the process's CPU seconds, which other work on the machine disturbs less.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.neighbors import NearestNeighbors

from galaxy_assets.lake import connect
from galaxy_assets.lake.layout import Layout
from galaxy_assets.lake.read_model import publish
from galaxy_assets.lake.tables import vectors_to_column, write_table
from galaxy_assets.science.neighbours import most_similar

GALAXIES, COMPONENTS, NEIGHBOURS, TURNS = 232_000, 29, 8, 7


def main() -> None:
    """Search for the first galaxies one by one, each way."""
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(GALAXIES, COMPONENTS)) * np.linspace(5, 1, COMPONENTS)).astype(np.float32)
    ids = np.array([f"{i:018d}" for i in rng.permutation(GALAXIES)], dtype=object)
    peer = NearestNeighbors(n_neighbors=NEIGHBOURS + 1, algorithm="brute").fit(features)
    with tempfile.TemporaryDirectory() as root:
        layout = Layout(Path(root))
        columns = {"galaxy_id": ids, "init": ["imagenet"] * GALAXIES, "vector": vectors_to_column(features)}
        write_table(pa.table(columns), layout.table("sdss_gz1", "pca_features", "all", "imagenet"))
        publish(layout)
        with connect(root) as lake:
            ways = {
                "galaxy-assets": lambda row: ids[most_similar(features, ids, features[[row]], NEIGHBOURS, [row])[0]],
                "scikit-learn": lambda row: ids[peer.kneighbors(features[[row]])[1][0, 1:]],
                "SQL, from Parquet": lambda row: [
                    galaxy
                    for (galaxy,) in lake.execute(
                        "select neighbour_id from sdss_gz1.similar_to(?, ?) order by rank", [[ids[row]], NEIGHBOURS]
                    ).fetchall()
                ],
            }
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for row in range(TURNS):
                answers = set()
                for name, search in ways.items():
                    began = time.process_time()
                    answers.add(tuple(search(row)))
                    seconds[name].append(time.process_time() - began)
                assert len(answers) == 1, answers
    for name, took in seconds.items():
        print(f"{name:20s} {1e3 * statistics.median(took):8.1f} ms [{1e3 * min(took):.1f} .. {1e3 * max(took):.1f}]")


if __name__ == "__main__":
    main()
