"""Power-law tails that must earn their name: xmin scan, goodness of fit, likelihood ratios.

A straight line can be drawn through the upper end of almost any spectrum. The method of Clauset, Shalizi &
Newman, SIAM Rev. 51, 661 (2009), asks in addition how often data that really have a power-law tail fit as
badly, with xmin scanned anew in every synthetic sample, and whether a law with a cut-off fits better. What
counts as a sample is the member: its levels are correlated.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dysonjax import renamed
from dysonjax.checks import InputError, finite_array, one_of, positive_int
from dysonjax.keys import Key, keyed
from dysonjax.spectra.batching import as_members
from dysonjax.spectra.members import POLICIES, of_members
from dysonjax.spectra.power_law_samples import candidate_starts, member_fits, scan_xmin, synthetic_fits
from dysonjax.spectra.tail_alternatives import clustering, likelihood_ratios


@dataclass(frozen=True)
class PowerLawFit:
    """Fit of a power-law tail, p(x) ∝ x^(−alpha) for x ≥ xmin. Arrays have the leading shape of the data.

    Examples
    --------
    >>> x = (1 - np.random.default_rng(0).random(500)) ** (-1 / 1.5)
    >>> fit = dj.spectra.fit_power_law(x, n_resamples=100)
    >>> bool(fit.p_value > 0.1), bool(fit.accepted())
    (True, True)
    """

    alpha: np.ndarray
    """exponent 1 + n_tail/Σ ln(x/xmin)"""
    alpha_err: np.ndarray
    """standard error: spread of alpha over resampled ensembles of members, widened as Student's t, or for
    independent points over the synthetic samples, each with its own xmin. Without samples it leaves out the
    choice of xmin: (alpha − 1)/√n_tail, for members times the root of their variance inflation. For members
    it is on the wide side: ±1 and ±1.96 of it hold the truth in up to 80 and 98 % of ensembles"""
    xmin: np.ndarray
    """start of the tail, units of x"""
    n_tail: np.ndarray
    """points in the tail, x ≥ xmin"""
    distance: np.ndarray
    """Kolmogorov-Smirnov distance of the tail from the fit"""
    p_value: np.ndarray
    """(1 + k)/(1 + n) for k of n samples with a true power-law tail that fit no better; of independent points
    fewer samples are made where p exceeds 0.1 for certain. NaN without samples"""
    lognormal: np.ndarray
    """log-likelihood ratio ≤ 0 of the power law against a lognormal tail"""
    lognormal_p: np.ndarray
    """its p-value under a true power law"""
    truncated: np.ndarray
    """log-likelihood ratio ≤ 0 against a power law with exponential cut-off"""
    truncated_p: np.ndarray
    """its p-value under a true power law"""

    @renamed.arguments(significance="level")
    def accepted(self, significance: float = 0.1) -> np.ndarray:
        """Whether the tail passes all three tests: the goodness of fit and both likelihood ratios.

        Parameters
        ----------
        significance : float, default 0.1
            p-value above which a test is passed.

        Returns
        -------
        bool or ndarray
            The verdict, for every sample. Without replicates the goodness of fit is unknown, and nothing is
            accepted.
        """
        return (
            (self.p_value > significance)
            & (self.lognormal_p > significance)
            & (self.truncated_p > significance)
        )


@renamed.arguments(n_resamples="n")
@keyed
def fit_power_law(
    x: ArrayLike,
    n_resamples: int = 1000,
    key: Key = 0,
    min_tail: int | None = None,
    max_candidates: int | None = None,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> PowerLawFit:
    """Fit a power-law tail to every sample along the last axis, or to ensembles of members.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., points)
        Positive numbers in any order, or labelled levels with their members. Zeros and below are refused.
    n_resamples : int, default 1000
        Samples for the p-value, 0 for none. In every one xmin is searched as in the data.
    key : int or jax.Array, default 0
        Of the samples.
    min_tail : int, optional
        Fewest points that may count as a tail. By default 50, or three quarters of the points if there are
        fewer than 67: in a shorter tail even Marchenko-Pastur noise passes for a power law.
    max_candidates : int, optional
        Try at most so many evenly spaced values of xmin, in data and samples. By default all are tried.
    member_axis : int or str, optional
        Axis of the members of an ensemble, at least 2 of them; not the last axis, but −2 for shape (...,
        members, levels). Labelled levels need none. Their levels are pooled for the fit, but whole members
        are resampled, so that levels may be correlated inside a member in any way.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Returns
    -------
    PowerLawFit
        Exponent, start of the tail and their tests.

    Raises
    ------
    InputError
        If x is not finite and positive, or has fewer than max(min_tail, 10) distinct values.

    Notes
    -----
    Clauset, Shalizi & Newman, SIAM Rev. 51, 661 (2009).

    Independent points: the synthetic samples keep the data's body and redraw the tail from a power law. Here
    the tail is the longest one compatible with a power law, not the one of smallest distance. The latter, the
    choice of Clauset et al., leaves part of a true tail in the body, and its p-values come out too large. A
    single spectrum repels and fits any smooth curve better than independent points do. So p alone is too
    lenient with it: read `accepted()`.

    Members: alpha_err is the spread of alpha over ensembles drawn with replacement. For the p-value the
    levels of the tail (that of smallest distance) are moved to the quantiles of the fitted power law in their
    order, which keeps the correlations inside the members. Ensembles are drawn from that. These p-values are
    uniform or too large, never too small: at 16 members and more, 2 to 10 % are below 0.1. The likelihood
    ratios are divided by the variance inflation that the members' correlations cause.

    Examples
    --------
    >>> x = (1 - np.random.default_rng(0).random(2000)) ** (-1 / 1.5)  # Pareto, alpha = 2.5
    >>> bool(abs(dj.spectra.fit_power_law(x, n_resamples=0).alpha - 2.5) < 0.2)
    True

    Sixteen equal levels are no more than one, and the error says so.

    >>> x = np.repeat(x[:50, None], 16, axis=1)
    >>> bool(dj.spectra.fit_power_law(x, n_resamples=100, member_axis=-2).alpha_err > 0.15)
    True
    """
    n_resamples = positive_int("n_resamples", n_resamples, minimum=0)
    one_of("nan_policy", nan_policy, POLICIES)
    settings = n_resamples, key, min_tail, max_candidates
    if member_axis is not None or hasattr(x, "dims"):
        return _fit_members(x, settings, member_axis=member_axis, nan_policy=nan_policy)
    if nan_policy != "raise":
        raise InputError("nan_policy speaks of whole members: name the axis that holds them by member_axis")
    return _fit(finite_array("x", x)[..., None, :], settings, clustered=False)


@of_members(min_members=2, trailing=())
def _fit_members(
    x, settings: tuple, *, member_axis: int | str | None = None, nan_policy: str = "raise"
) -> PowerLawFit:
    return _fit(as_members("x", x, min_members=2), settings, clustered=True)


def _fit(x: np.ndarray, settings: tuple, clustered: bool) -> PowerLawFit:
    """x: shape (..., members, levels), or (..., 1, points) of independent points."""
    n, seed, min_tail, max_candidates = settings
    lead, points = x.shape[:-2], x.shape[-2] * x.shape[-1]
    if min_tail is None:
        min_tail = min(50, 3 * points // 4)
    fewest = max(positive_int("min_tail", min_tail, minimum=0), 10)
    if x.size == 0 or points < fewest:
        shape = x.shape if clustered else (*lead, points)
        raise InputError(f"x must have at least {fewest} points for a power law, got shape {shape}")
    if x.min() <= 0:
        raise InputError(f"x must be positive for a power law, but its smallest entry is {x.min():.6g}")
    x = x.reshape(-1, *x.shape[-2:])
    ordered = np.sort(x.reshape(-1, points), axis=-1)
    distinct = (1 + (np.diff(ordered, axis=-1) > 0).sum(axis=-1)).min()
    if distinct < fewest:
        raise InputError(f"x must have at least {fewest} distinct values for a power law, got {distinct}")
    # Ratios to the median keep the logarithms, and all that follows, independent of the unit of x.
    median = np.median(ordered, axis=-1, keepdims=True)
    logs, members = np.log(ordered / median), np.log(x / median[:, None])
    candidates = candidate_starts(points, max(min_tail, 2), max_candidates)
    start, rate, distance, longest = scan_xmin(logs, candidates)
    n_tail = points - start
    rng = np.random.default_rng(seed)
    p_value, ratios = np.full(len(logs), np.nan), np.zeros((len(logs), 2, 2))
    error = rate / np.sqrt(n_tail)
    for row, i in enumerate(start):
        excess = members[row] - logs[row, i]
        inflation = (1.0, 1.0)
        if clustered:
            error[row] *= np.sqrt(clustering(excess).exponent)
            inflation = clustering(excess).ratios
        ratios[row] = likelihood_ratios(logs[row, i:] - logs[row, i], inflation)
        if not n:
            continue
        if clustered:
            distances, rates = member_fits(rng, members[row], i, rate[row], n, candidates)
            p_value[row] = (1 + np.count_nonzero(distances >= distance[row])) / (1 + n)
        else:
            p_value[row], rates = synthetic_fits(rng, logs[row], longest[row], distance[row], n, candidates)
        error[row] = rates.std(ddof=1) if n > 1 else error[row]
    fields = [1 + rate, error, ordered[np.arange(len(logs)), start], n_tail, distance]
    fields += [p_value, *ratios.reshape(-1, 4).T]
    return PowerLawFit(*(field.reshape(lead)[()] for field in fields))
