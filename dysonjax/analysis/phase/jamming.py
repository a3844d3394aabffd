"""Where the features of a tanh network turn bimodal: the jamming line."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from dysonjax import checks

JAMMING_VARIANCE = 0.5  # pre-activation variance at which the density of tanh features turns bimodal


class Jamming(NamedTuple):
    """The line below which tanh features are unimodal at initialisation, as values of 1/sigma_w.

    Attributes
    ----------
    published : float
        √2, where the variance of the pre-activations is taken as sigma_w².
    measured : float
        From the measured variance of the pre-activations of this ensemble.
    """

    published: float
    measured: float


def jamming_line(dataset: xr.Dataset) -> Jamming:
    """Where the variance of the learned layer's pre-activations passes 1/2 at initialisation.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of the teacher-student network.

    Returns
    -------
    Jamming
        The published and the measured line, as values of 1/sigma_w.

    Notes
    -----
    tanh(z) of a Gaussian z turns bimodal when its variance passes 1/2, see `tanh_density`. The published
    line, 1/sigma_w = √2, takes that variance as sigma_w². It is sigma_w² times the mean square of the
    features below, which is about 0.3 to 0.4 behind a tanh layer. The features therefore turn bimodal at a
    larger sigma_w.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> line = dj.phase.jamming_line(run)
    >>> bool(line.measured < line.published)
    True
    """
    first = dataset.isel(record=0)
    ratio = float((first["preactivation_variance"] / first["sigma_w"] ** 2).mean())
    return Jamming(np.sqrt(1 / JAMMING_VARIANCE), np.sqrt(ratio / JAMMING_VARIANCE))


def tanh_density(feature: ArrayLike, variance: float) -> np.ndarray:
    """Density of φ = tanh(z) for z ~ N(0, variance).

    Parameters
    ----------
    feature : float or array
        Values of φ, of any shape.
    variance : float
        Variance v of z, above 0.

    Returns
    -------
    array, shape of `feature`
        The density; 0 outside (−1, 1).

    Raises
    ------
    InputError
        If the variance is not positive.

    Notes
    -----
    p(φ) = exp(−artanh²φ / 2v) / (√(2πv) (1 − φ²)). Around 0 its logarithm is φ² (1 − 1/2v) + O(φ⁴) up to a
    constant, so that the maximum at 0 becomes a minimum at v = 1/2.

    Examples
    --------
    >>> phi = np.linspace(-0.5, 0.5, 3)
    >>> cold, hot = dj.phase.tanh_density(phi, 0.3), dj.phase.tanh_density(phi, 0.9)
    >>> bool(cold[1] > cold[0]), bool(hot[1] > hot[0])
    (True, False)
    """
    variance = checks.positive("variance", variance)
    feature = np.asarray(feature, dtype=float)
    inside = np.abs(feature) < 1
    z = np.arctanh(np.where(inside, feature, 0.0))
    # 1/(1 − φ²) = cosh²(z), of which the logarithm does not overflow near ±1.
    log_density = -(z**2) / (2 * variance) + 2 * (np.abs(z) + np.log1p(np.exp(-2 * np.abs(z))) - np.log(2))
    return np.where(inside, np.exp(log_density), 0.0) / np.sqrt(2 * np.pi * variance)
