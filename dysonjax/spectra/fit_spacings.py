"""Fits of level spacings: the Wigner surmise for one spacing, Brody's law between Poisson and Wigner."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from dysonjax import renamed
from dysonjax.checks import InputError, positive, positive_int
from dysonjax.keys import Key, keyed
from dysonjax.spectra.batching import as_members, over_leading_axes
from dysonjax.spectra.likelihood import grouped, maximise, member_weights, standard_errors
from dysonjax.spectra.members import of_members

MIN_MEMBERS = 5
CHUNK = 2**21


@dataclass(frozen=True)
class SurmiseFit:
    """P(S) ∝ S^beta exp(−S²/4σ²) for every spacing by itself; arrays of shape (..., k)."""

    sigma: np.ndarray
    """σ, units of the spacing: √(⟨S²⟩/(2(beta + 1))), the maximum-likelihood estimate"""
    sigma_err: np.ndarray
    """standard error by bootstrap over members"""
    sigma_mean: np.ndarray
    """σ from ⟨S⟩ alone (⟨S⟩/√π for beta = 1); differs from `sigma` where the law is wrong"""
    distance: np.ndarray
    """Kolmogorov-Smirnov distance from the fitted law"""
    p_value: np.ndarray
    """of that distance, by simulation with σ fitted anew; uniform under the law"""


@dataclass(frozen=True)
class BrodyFit:
    """Fit of Brody's law, P(s) = (q+1) b s^q exp(−b s^(q+1)) with ⟨s⟩ = 1."""

    q: np.ndarray
    """exponent of the repulsion: 0 for Poisson, 1 for the Wigner surmise"""
    q_err: np.ndarray
    """standard error by bootstrap over members"""


@renamed.arguments(n_resamples="n")
@keyed
@of_members(min_members=MIN_MEMBERS)
def fit_wigner_surmise(
    spacings: ArrayLike,
    beta: float = 1.0,
    n_resamples: int = 1000,
    key: Key = 0,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> SurmiseFit:
    """Fit and test the law of a pair's spacing, with a width σ for each of k spacings.

    For the bulk of one spectrum use `spacing_test`, which knows that neighbouring spacings are correlated.

    Parameters
    ----------
    spacings : array_like or DataArray, shape (..., members, k)
        Spacings S ≥ 0, not normalised. Every column is one spacing, of one degenerate pair or between levels
        i and i + 1, over the members, which are independent.
    beta : float, default 1.0
        Dyson index, positive.
    n_resamples : int, default 1000
        Replicates of the bootstrap and of the simulated null.
    key : int or jax.Array, default 0
        Of both.

    Returns
    -------
    SurmiseFit
        σ, its error and the test of the law, each for every spacing.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For NaN, fewer than 5 members, S < 0 (unsorted levels), or a column of zeros.

    Notes
    -----
    P(S) ∝ S^beta exp(−S²/4σ²). [A] section 2.5 has beta = 1: P(S) = S/(2σ²) exp(−S²/4σ²).

    Examples
    --------
    >>> pairs = dj.spectra.PairSpacing(sigma=0.3).rvs((400, 1), random_state=0)
    >>> fit = dj.spectra.fit_wigner_surmise(pairs)
    >>> bool(abs(fit.sigma[0] - 0.3) < 3 * fit.sigma_err[0]), bool(fit.p_value[0] > 0.05)
    (True, True)
    """
    beta, n_resamples = positive("beta", beta), positive_int("n_resamples", n_resamples, minimum=2)
    return over_leading_axes(lambda s: _surmise(s, beta, n_resamples, int(key)), _checked(spacings))


def _checked(spacings) -> np.ndarray:
    s = as_members("spacings", spacings, MIN_MEMBERS)
    if s.min() < 0:
        raise InputError(
            f"spacings must not be negative (sort the levels first), the smallest is {s.min():.6g}"
        )
    if (s.max(axis=-2) == 0).any():
        raise InputError("a spacing is zero in every member; it has no width to fit")
    return s


def _surmise(s: np.ndarray, beta: float, n_resamples: int, seed: int) -> SurmiseFit:
    members = len(s)
    square = (s**2).mean(axis=0) / (2 * (beta + 1))
    replicates = member_weights(members, n_resamples, seed) @ s**2 / (2 * (beta + 1) * members)
    mean_of_unit = 2 * np.exp(special.gammaln(1 + beta / 2) - special.gammaln((beta + 1) / 2))
    distance = np.array([_ks(column[None], beta)[0] for column in s.T])
    rng = np.random.default_rng(seed + 1)
    chunk = max(1, CHUNK // members)
    null = np.concatenate(
        [
            # S²/4σ² is a gamma variable; σ drops out because every sample is measured by its own.
            _ks(np.sqrt(rng.gamma((beta + 1) / 2, size=(min(chunk, n_resamples - first), members))), beta)
            for first in range(0, n_resamples, chunk)
        ]
    )
    p_value = (1 + (null[:, None] >= distance).sum(axis=0)) / (1 + n_resamples)
    return SurmiseFit(
        np.sqrt(square),
        standard_errors(np.sqrt(replicates), members),
        s.mean(axis=0) / mean_of_unit,
        distance,
        p_value,
    )


def _ks(s: np.ndarray, beta: float) -> np.ndarray:
    """Distance of every row from the law with that row's σ. s: shape (rows, members)."""
    s = np.sort(s, axis=1)
    shape = (beta + 1) / 2
    cdf = special.gammainc(shape, shape * s**2 / (s**2).mean(axis=1, keepdims=True))
    count = s.shape[1]
    return np.abs(cdf - (np.arange(count) + 0.5) / count).max(axis=1) + 0.5 / count


@renamed.arguments(n_resamples="n")
@keyed
@of_members(min_members=MIN_MEMBERS)
def fit_brody(
    spacings: ArrayLike,
    n_resamples: int = 300,
    key: Key = 0,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> BrodyFit:
    """Fit Brody's repulsion exponent q to unfolded spacings, pooled over members and columns.

    Parameters
    ----------
    spacings : array_like or DataArray, shape (..., members, k)
        Unfolded spacings s ≥ 0. Only their ratios to the mean matter.
    n_resamples : int, default 300
        Bootstrap replicates over members, for the error.
    key : int or jax.Array, default 0
        Of the bootstrap.

    Returns
    -------
    BrodyFit
        q > −1, by maximum likelihood, and its error.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For NaN, s < 0 or fewer than 5 members.

    Notes
    -----
    Brody, Lett. Nuovo Cimento 7, 482 (1973).

    Examples
    --------
    Independent levels give q = 0, those of a random matrix nearly 1.

    >>> rng = np.random.default_rng(0)
    >>> poisson, wigner = rng.exponential(size=(400, 1)), dj.spectra.WignerSurmise(1).rvs((400, 1), rng)
    >>> [dj.spectra.fit_brody(s, n_resamples=50).q.round(1).tolist() for s in (poisson, wigner)]
    [0.0, 1.1]
    """
    n_resamples = positive_int("n_resamples", n_resamples, minimum=2)
    return over_leading_axes(lambda s: _brody(s, n_resamples, int(key)), _checked(spacings))


def _brody(s: np.ndarray, n_resamples: int, seed: int) -> BrodyFit:
    # A spacing that rounding made zero says "very small", not "impossible".
    points, counts = grouped(np.maximum(s / s.mean(), 1e-12))
    log_s = np.log(points)

    def log_density(theta):
        power = np.exp(theta)  # q + 1
        log_b = power * special.gammaln(1 + 1 / power)
        return theta + log_b + (power - 1) * log_s - np.exp(log_b + power * log_s)

    weights = member_weights(len(s), n_resamples, seed) @ counts
    data = maximise(log_density, weights[:1], [0.4])[0]
    theta = np.concatenate([data, maximise(log_density, weights[1:], data[0])[0]])
    q = np.expm1(theta)
    return BrodyFit(q[0, 0], standard_errors(q, len(s))[0])
