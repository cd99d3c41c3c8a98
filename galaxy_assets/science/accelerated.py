"""The large sums of the methods on a GPU: neighbours, similarity, the mixture, the Gaussian process.

Belongs here: what takes most of the time with many galaxies, written in torch. Does not belong here: the methods, which
call this where there is a CUDA device and galaxies enough to pay for the way there (`neighbours`, `variational`,
`gaussian_process`).

Each function is that of its method in another order of the sums; the tests hold the two against each other on the CPU.
"""

import numpy as np
import torch
from torch import Tensor

_BLOCK = 2**13  # galaxies at once: float32 adds up more of them with too much rounding
_DISTANCES = 2**27  # distances held at once


def neighbour_lists(features: np.ndarray, length: int, device: torch.device) -> np.ndarray:
    """The nearest other galaxies of each, as `neighbours` finds them.

    Parameters
    ----------
    features : ndarray of shape (N, D), float
    length : int
        How many.
    device : torch.device

    Returns
    -------
    ndarray of shape (N, min(length, N - 1)), int64
        Nearest first; galaxies at the same distance in float64 in any order.
    """
    x = torch.from_numpy(np.asarray(features, np.float64)).to(device)
    norms, length = (x * x).sum(1), min(length, len(x) - 1)
    found = torch.empty((len(x), length), dtype=torch.int64, device=device)
    block = max(1, _DISTANCES // len(x))
    for begin in range(0, len(x), block):
        rows = torch.arange(begin, min(begin + block, len(x)), device=device)
        squares = torch.addmm(norms, x[rows], x.T, alpha=-2) + norms[rows, None]
        squares[rows - begin, rows] = torch.inf
        found[rows] = squares.topk(length, largest=False, sorted=True).indices
    return found.cpu().numpy()


class Scan:
    """Galaxies on a device, for the first look of the similarity search (`neighbours`).

    Parameters
    ----------
    terms : ndarray of shape (D + 1, N), float32
    device : torch.device
    """

    def __init__(self, terms: np.ndarray, device: torch.device):
        self.device = device
        self.terms = torch.from_numpy(terms).to(device)

    def __call__(self, coefficients: np.ndarray) -> np.ndarray:
        """Sum of the terms of each galaxy times coefficients (D + 1,) float32, (N,) float32."""
        return (torch.from_numpy(coefficients).to(self.device) @ self.terms).cpu().numpy()


class MixtureTerms:
    """Galaxies on a device, for the expectation step of the mixture (`variational`).

    Parameters
    ----------
    z : ndarray of shape (N, D), float64
        Whitened features.
    device : torch.device
    """

    def __init__(self, z: np.ndarray, device: torch.device):
        self.device = device
        self.z = torch.from_numpy(z).to(device)
        self.pairs = torch.triu_indices(z.shape[1], z.shape[1], device=device)

    def expectation(self, coefficients: np.ndarray, components: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
        """Sums of the terms z_i z_j, z and 1, weighted by responsibilities, and the evidence of each start.

        Parameters
        ----------
        coefficients : ndarray of shape (S * K, terms), float64
            Of the terms in the logarithm of weight times density.
        components : int
            K.
        dtype : type
            Of the products, numpy.float32 or numpy.float64; blocks are added in float64.

        Returns
        -------
        sums : ndarray of shape (S * K, terms), float64
        evidence : ndarray of shape (S,), float64
        """
        rounded = torch.from_numpy(coefficients.astype(dtype)).to(self.z.device)
        sums = torch.zeros(coefficients.shape, dtype=torch.float64, device=self.z.device)
        evidence = torch.zeros(len(coefficients) // components, dtype=torch.float64, device=self.z.device)
        for block in self.z.split(_BLOCK):
            terms = self._terms(block.to(rounded.dtype))
            logarithms = (terms @ rounded.T).view(len(terms), -1, components)
            evidence += logarithms.logsumexp(2).sum(0, dtype=torch.float64)
            sums += logarithms.softmax(2).flatten(1).T @ terms
        return sums.cpu().numpy(), evidence.cpu().numpy()

    def _terms(self, z: Tensor) -> Tensor:
        i, j = self.pairs
        return torch.cat([z[:, i] * z[:, j], z, torch.ones_like(z[:, :1])], 1)


def predict_scores(
    features: np.ndarray,
    known: np.ndarray,
    weights: np.ndarray,
    inverse: np.ndarray,
    variance: float,
    device: torch.device,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of a Gaussian process with a Matern kernel of nu = 1.5, as `gaussian_process` predicts them.

    Parameters
    ----------
    features : ndarray of shape (N, D), float64
        Galaxies, in units of the length scale over the root of 3.
    known : ndarray of shape (L, D), float64
        Scored galaxies, in the same units.
    weights : ndarray of shape (L,), float64
        Of the correlations with the scored galaxies, in the mean.
    inverse : ndarray of shape (L, L), float64
        Maps correlations to terms whose squares lower the variance.
    variance : float
        Far from every scored galaxy.
    device : torch.device

    Returns
    -------
    mean, variance : ndarray of shape (N,), float64
    """
    there = [torch.from_numpy(np.asarray(array, np.float64)).to(device) for array in (known, weights, inverse)]
    found = []
    block = max(1, _DISTANCES // (8 * len(known)))
    for begin in range(0, len(features), block):
        x = torch.from_numpy(np.asarray(features[begin : begin + block], np.float64)).to(device)
        # from differences: the product of large numbers cancels where galaxies nearly coincide
        distance = torch.cdist(x, there[0], compute_mode="donot_use_mm_for_euclid_dist")
        correlation = (1 + distance) * torch.exp(-distance)
        explained = correlation @ there[2].T
        found.append(torch.stack([correlation @ there[1], variance - (explained * explained).sum(1)]))
    mean, left = torch.cat(found, 1).cpu().numpy() if found else np.empty((2, 0))
    return mean, left
