"""Widths of a degenerate pair of levels: one for both, or one for each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dysonjax import renamed
from dysonjax.checks import InputError, positive_int
from dysonjax.keys import Key, keyed
from dysonjax.spectra.batching import as_members, over_leading_axes
from dysonjax.spectra.likelihood import grouped, maximise, member_weights, standard_errors
from dysonjax.spectra.members import of_members
from dysonjax.spectra.two_level import TwoMode

MIN_MEMBERS = 5


@dataclass(frozen=True)
class TwoModeFit:
    """Fit of the density `TwoMode(sigma, center)`. Arrays of the leading shape, in units of the levels."""

    sigma: np.ndarray
    """width of the common well, to be compared with σ = ⟨S⟩/√π from the spacing"""
    center: np.ndarray
    """center of the pair"""
    sigma_err: np.ndarray
    """standard error by bootstrap over members"""
    center_err: np.ndarray
    """standard error of `center`"""


@dataclass(frozen=True)
class TwoSpeciesFit:
    """Fit of the joint law of a pair with two widths about one center.

    Arrays of the leading shape, in units of the levels where nothing else is said.
    """

    sigma_wide: np.ndarray
    """the larger width"""
    sigma_narrow: np.ndarray
    """the smaller width"""
    center: np.ndarray
    """common center of the wells"""
    sigma_wide_err: np.ndarray
    """standard error by bootstrap over members"""
    sigma_narrow_err: np.ndarray
    """standard error of `sigma_narrow`"""
    center_err: np.ndarray
    """standard error of `center`"""
    aic: np.ndarray
    """Akaike's criterion 2·3 − 2 ln L of two species"""
    aic_two_mode: np.ndarray
    """2·2 − 2 ln L of one width for both; smaller is better"""

    sigma1 = renamed.field("sigma_wide", "sigma1")
    sigma2 = renamed.field("sigma_narrow", "sigma2")
    sigma1_err = renamed.field("sigma_wide_err", "sigma1_err")
    sigma2_err = renamed.field("sigma_narrow_err", "sigma2_err")


@renamed.arguments(n_resamples="n")
@keyed
@of_members(min_members=MIN_MEMBERS)
def fit_two_mode(
    x: ArrayLike,
    n_resamples: int = 300,
    key: Key = 0,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> TwoModeFit:
    """Fit the level density of a degenerate pair, `TwoMode`.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, modes)
        Levels, all of one law. A pair has modes = 2.
    n_resamples : int, default 300
        Bootstrap replicates over members, for the errors.
    key : int or jax.Array, default 0
        Of the bootstrap.

    Returns
    -------
    TwoModeFit
        Width and center with their errors.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For NaN, fewer than 5 members, or levels without spread.

    Notes
    -----
    The levels of a member are correlated. That leaves the estimate consistent, and the errors are right
    because whole members are drawn.

    Examples
    --------
    >>> x = dj.spectra.TwoMode(sigma=0.3, center=5.0).rvs((4000, 1), random_state=0)
    >>> fit = dj.spectra.fit_two_mode(x, n_resamples=50)
    >>> bool(abs(fit.sigma - 0.3) < 4 * fit.sigma_err)
    True
    """
    n_resamples = positive_int("n_resamples", n_resamples, minimum=2)
    return over_leading_axes(
        lambda levels: _two_mode(levels, n_resamples, int(key)), as_members("x", x, MIN_MEMBERS)
    )


def _two_mode(x: np.ndarray, n_resamples: int, seed: int) -> TwoModeFit:
    z, middle, scale = _standardised(x)
    points, counts = grouped(z)
    shape = TwoMode(1.0)

    def log_density(theta):
        center, log_sigma = theta[:, :1], theta[:, 1:]
        # A level forty widths out underflows; it then counts as impossible, not as minus infinity.
        return np.log(np.maximum(shape.pdf((points - center) / np.exp(log_sigma)), 1e-300)) - log_sigma

    weights = member_weights(len(x), n_resamples, seed) @ counts
    start = [0.0, 0.5 * np.log(1 / 1.5)]  # the variance is 1.5 σ²
    data = maximise(log_density, weights[:1], start)[0]
    theta = np.concatenate([data, maximise(log_density, weights[1:], data[0])[0]])
    values = np.stack([scale * np.exp(theta[:, 1]), middle + scale * theta[:, 0]], axis=1)
    return TwoModeFit(*values[0], *standard_errors(values, len(x)))


@renamed.arguments(n_resamples="n")
@keyed
@of_members(min_members=MIN_MEMBERS)
def fit_two_species(
    x: ArrayLike,
    n_resamples: int = 300,
    key: Key = 0,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> TwoSpeciesFit:
    """Fit a width for each level of a pair, and weigh it against one width for both.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, 2)
        Pairs of levels.
    n_resamples : int, default 300
        Bootstrap replicates over members, for the errors.
    key : int or jax.Array, default 0
        Of the bootstrap.

    Returns
    -------
    TwoSpeciesFit
        Both widths, the center, their errors and Akaike's criterion of either model.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For NaN, fewer than 5 members, modes other than 2, or a pair that coincides in some member.

    Notes
    -----
    Both models are fitted to the joint law ∝ |x₁−x₂| exp(−(x₁−c)²/2σ₁² − (x₂−c)²/2σ₂²) of the unordered pair,
    not to the density. The pair is what is independent from member to member, so that the likelihoods in
    Akaike's criterion count each observation once.

    Examples
    --------
    Pairs with equal widths need no second one: its criterion is not lower by more than chance.

    >>> x = dj.spectra.sample_beta_hermite(0, n=2, beta=1.0, shape=500)
    >>> fit = dj.spectra.fit_two_species(x, n_resamples=20)
    >>> bool(fit.sigma_wide / fit.sigma_narrow < 1.5), bool(fit.aic - fit.aic_two_mode > -4)
    (True, True)
    """
    x = as_members("x", x, MIN_MEMBERS)
    n_resamples = positive_int("n_resamples", n_resamples, minimum=2)
    if x.shape[-1] != 2:
        raise InputError(f"x must hold pairs of levels, shape (..., members, 2), got {x.shape}")
    if (x[..., 0] == x[..., 1]).any():
        raise InputError("the two levels of a member coincide, which has probability zero in this law")
    return over_leading_axes(lambda levels: _two_species(levels, n_resamples, int(key)), x)


def _two_species(x: np.ndarray, n_resamples: int, seed: int) -> TwoSpeciesFit:
    z, middle, scale = _standardised(x)
    log_gap = np.log(np.abs(z[:, 1] - z[:, 0]))

    def log_density(theta):
        center, log_sigma, half_ratio = theta[:, :1], theta[:, 1:2], theta[:, 2:]
        a, b = np.exp(-2 * (log_sigma + half_ratio)), np.exp(-2 * (log_sigma - half_ratio))
        u, v = (z[:, 0] - center) ** 2 / 2, (z[:, 1] - center) ** 2 / 2
        norm = np.log(2 * np.sqrt(2 * np.pi)) + 2 * log_sigma + 0.5 * np.log(1 / a + 1 / b)
        return log_gap + np.logaddexp(-a * u - b * v, -b * u - a * v) - norm

    weights = member_weights(len(x), n_resamples, seed)
    equal = [z.mean(), 0.5 * np.log(((z - z.mean()) ** 2).sum(axis=1).mean() / 3), 0.0]
    log_l_equal = float(log_density(np.array([equal])).sum())
    # The likelihood is even in ln(σ₁/σ₂), with a stationary point at 0 that must not trap the search.
    starts = np.array([[equal[0], equal[1], d] for d in (0.05, 0.4, 0.8, 1.5)])
    found, log_l = maximise(log_density, np.repeat(weights[:1], len(starts), axis=0), starts)
    best = int(np.argmax(log_l))
    # Replicates lie within a standard error of the data: for many members two Newton steps are exact enough.
    steps = 40 if len(x) <= 1000 else 2
    theta = np.concatenate([found[best][None], maximise(log_density, weights[1:], found[best], steps)[0]])
    ratio = np.exp(np.abs(theta[:, 2]))
    width = scale * np.exp(theta[:, 1])
    values = np.stack([width * ratio, width / ratio, middle + scale * theta[:, 0]], axis=1)
    # ln L in the units of x: every member contributes two levels.
    unit = 2 * len(x) * np.log(scale)
    log_l_best = max(float(log_l[best]), log_l_equal)
    sigma_wide, sigma_narrow, center = values[0]
    sigma_wide_err, sigma_narrow_err, center_err = standard_errors(values, len(x))
    return TwoSpeciesFit(
        sigma_wide, sigma_narrow, center, sigma_wide_err, sigma_narrow_err, center_err,
        6 - 2 * (log_l_best - unit),
        4 - 2 * (log_l_equal - unit),
    )  # fmt: skip


def _standardised(x: np.ndarray) -> tuple[np.ndarray, float, float]:
    middle, scale = float(x.mean()), float(x.std())
    if not scale > 0:
        raise InputError("all levels are equal; a width cannot be fitted")
    return (x - middle) / scale, middle, scale
