"""Whether the mixture of a sample says what that of all galaxies says: labels of 100,000 simulated galaxies.

    OMP_NUM_THREADS=1 python benchmarks/samples.py [N]

Beside each sample stands the mixture of all galaxies under another seed: two fits of overlapping clusters end in other
optima whatever they are fitted to, and no sample can agree better than those do.
"""

import sys

import numpy as np
import pyarrow as pa
import simulated
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

from galaxy_assets.science import mixture
from galaxy_assets.science.samples import drawn
from galaxy_assets.settings.structure import Mixture

SHARES = (0.5, 0.2, 0.05)


def alike(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Adjusted Rand index, and the share of galaxies with the same label after the clusters are matched."""
    table = np.zeros((one.max() + 1, other.max() + 1), int)
    np.add.at(table, (one, other), 1)
    return float(adjusted_rand_score(one, other)), table[linear_sum_assignment(-table)].sum() / len(one)


def main() -> None:
    """Print a line for the other seed and one for each sample."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    features, _ = simulated.components(n)
    ids = pa.array(simulated.names(n), pa.string())

    def labels(rows: np.ndarray | None, seed: int) -> np.ndarray:
        settings = Mixture(n_init=4, tol=1e-5 * n, seed=seed)
        model = mixture.fit(features if rows is None else features[rows], settings)
        return model.probabilities(features).argmax(axis=1)

    whole = labels(None, 0)
    words = "{}: adjusted Rand index {:.3f}, same label {:.3f}"
    print(words.format("all galaxies, another seed", *alike(whole, labels(None, 1))))
    for share in SHARES:
        rows = drawn(ids, int(share * n), 0)
        print(words.format(f"sample of {int(share * n):,}", *alike(whole, labels(rows, 0))))


if __name__ == "__main__":
    main()
