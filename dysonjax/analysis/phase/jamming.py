"""Where the features of a tanh network turn bimodal: the jamming line."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from dysonjax import checks

JAMMING_VARIANCE = 0.5  # pre-activation variance at which the density of tanh features turns bimodal


class Jamming(NamedTuple):
    """The line below which tanh features are unimodal at initialisation, as values of 1/sigma_w."""

    published: float  # sqrt 2: the variance of the pre-activations taken as sigma_w^2
    measured: float  # from the measured variance of the pre-activations of this ensemble


def jamming_line(dataset: xr.Dataset) -> Jamming:
    """Where the variance of the learned layer's pre-activations passes 1/2 at initialisation.

    tanh(z) of a Gaussian z turns bimodal when its variance passes 1/2, see `tanh_density`. The published
    line, 1/sigma_w = sqrt 2, takes that variance as sigma_w^2. It is sigma_w^2 times the mean square of the
    features below, which is about 0.3 to 0.4 behind a tanh layer, so that the features turn bimodal at a
    larger sigma_w.
    """
    first = dataset.isel(record=0)
    ratio = float((first["preactivation_variance"] / first["sigma_w"] ** 2).mean())
    return Jamming(np.sqrt(1 / JAMMING_VARIANCE), np.sqrt(ratio / JAMMING_VARIANCE))


def tanh_density(feature, variance: float) -> np.ndarray:
    """Density of φ = tanh(z) for z ~ N(0, variance), at features of any shape; 0 outside (−1, 1).

    p(φ) = exp(−artanh²φ / 2v) / (√(2πv) (1 − φ²)). Around 0 its logarithm is φ² (1 − 1/2v) + O(φ⁴), so that
    the maximum at 0 becomes a minimum at v = 1/2. Raises InputError if the variance is not positive.
    """
    variance = checks.positive("variance", variance)
    feature = np.asarray(feature, dtype=float)
    inside = np.abs(feature) < 1
    z = np.arctanh(np.where(inside, feature, 0.0))
    # 1/(1 − φ²) = cosh²(z), of which the logarithm does not overflow near ±1.
    log_density = -(z**2) / (2 * variance) + 2 * (np.abs(z) + np.log1p(np.exp(-2 * np.abs(z))) - np.log(2))
    return np.where(inside, np.exp(log_density), 0.0) / np.sqrt(2 * np.pi * variance)
