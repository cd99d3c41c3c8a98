"""Whether a delivery is like what the models were fitted to, measured without labels.

Belongs here: the measures and their verdict. Does not belong here: what follows from it (a person decides to retrain).
"""

from dataclasses import dataclass

import numpy as np

from galaxy_assets.science.pca import PcaModel
from galaxy_assets.settings.structure import DriftLimits


@dataclass(frozen=True)
class Measure:
    """One measure of a delivery.

    Attributes
    ----------
    name : str
    value, fitted : float
        Of the delivery, and of what the models were fitted to.
    limit : float
        Above it the delivery differs.
    words : str
        What is measured.
    """

    name: str
    value: float
    fitted: float
    limit: float
    words: str

    @property
    def exceeded(self) -> bool:
        """Whether the value is above the limit, or no number."""
        return not self.value <= self.limit


def drift(
    features: np.ndarray,
    model: PcaModel,
    *,
    fitted_on: int,
    left_out: float | None,
    unsure: float,
    unsure_fitted: float,
    fallback: float,
    limits: DriftLimits,
) -> list[Measure]:
    """Measures of a delivery.

    In units of what they are for the fitted galaxies: the variance outside the components, of which galaxies that were
    not fitted to have more, so that its limit is over theirs; the squared Mahalanobis distance within them; and the
    root mean square over components of the shift of the mean, in standard deviations, of which the part expected of N
    galaxies by chance is taken off.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        As the components were fitted to (`embeddings`).
    model : PcaModel
        The components.
    fitted_on : int
        How many galaxies they were fitted to, at least; as many as there are components and one leave no variance
        outside, which then says nothing of a delivery.
    left_out : float or None
        The variance outside the components of galaxies like these that were not fitted to, as `pca.left_out`
        has it; None where nobody measured it.
    unsure, unsure_fitted : float
        Share of galaxies whose most probable cluster has less than one half, of the delivery and of those that the
        mixture was fitted to.
    fallback : float
        Share of images that keep their original frame.
    limits : DriftLimits
        Of the survey.

    Returns
    -------
    measures : list of Measure
        residual, distance, shift, unsure and fallback.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.drift import drift
    >>> from galaxy_assets.science.pca import fit
    >>> from galaxy_assets.settings.structure import DriftLimits
    >>> features = np.random.default_rng(0).normal(size=(500, 4)) * [5, 3, 1, 0.1]
    >>> model = fit(features[:400], variance=0.95)
    >>> known = {"fitted_on": 400, "left_out": None, "unsure": 0.1, "unsure_fitted": 0.1, "fallback": 0.0}
    >>> known["limits"] = DriftLimits()
    >>> [measure.name for measure in drift(features[400:], model, **known) if measure.exceeded]
    []
    >>> [measure.name for measure in drift(features[400:] + 9, model, **known) if measure.exceeded]
    ['residual', 'distance', 'shift']
    """
    n, k = len(features), len(model.components)
    within = (features - model.mean).astype(np.float64) @ model.components.T.astype(np.float64)
    variance = model.explained_variance.astype(np.float64)
    shift = (within.mean(axis=0) ** 2 / variance).mean() - 1 / n
    distance = (within**2 / variance).sum(axis=1).mean() / k
    # of Gaussian features that were not fitted to; those of images have more
    least = (fitted_on + k) / (fitted_on - k - 1) if fitted_on > k + 1 else np.inf
    new = limits.spread * max(least, left_out or 0)
    return [
        Measure("residual", model.residual(features), 1.0, new, "variance outside the components"),
        Measure("distance", float(distance), 1.0, limits.spread, "squared distance from the mean within them"),
        Measure("shift", float(np.sqrt(max(shift, 0))), 0.0, limits.shift, "shift of the mean, standard deviations"),
        Measure("unsure", unsure, unsure_fitted, unsure_fitted + limits.unsure, "share of unsure members"),
        Measure("fallback", fallback, 0.0, limits.fallback, "share of images that keep their original frame"),
    ]
