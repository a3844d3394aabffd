"""Permutation tests: whether two ensembles lie further apart than chance alone would separate them.

Whole members change sides, never single levels, which repel each other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dysonjax import renamed
from dysonjax.checks import InputError, one_of, positive_int
from dysonjax.keys import Key, keyed
from dysonjax.spectra.batching import CHUNK, as_members
from dysonjax.spectra.distances import DISTANCES, PooledLevels, which
from dysonjax.spectra.members import of_members


@dataclass(frozen=True)
class PermutationTest:
    """How far two ensembles lie apart, and how often chance alone separates them as much."""

    distance: np.ndarray | float
    """effect size, as `wasserstein` and its like give it; shape (..., modes) if comparison="each" """
    p_value: np.ndarray | float
    """(1 + k)/(1 + n) for k of n = n_resamples relabellings at least as far apart"""
    n_resamples: int
    """number of relabellings"""

    statistic = renamed.field("distance", "statistic")
    n = renamed.field("n_resamples", "n")


@renamed.arguments(metric="statistic", n_resamples="n", comparison="levels")
@keyed
@of_members(samples=2, min_members=2)
def permutation_test(
    x: ArrayLike,
    y: ArrayLike,
    metric: str = "wasserstein",
    n_resamples: int = 1000,
    key: Key = 0,
    per_level: bool = False,
    comparison: str = "mean",
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> PermutationTest:
    """Test whether two ensembles share one law, by exchanging whole members between them.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members_x, modes)
        Levels of the first ensemble, at least 2 members.
    y : array_like or DataArray, shape (..., members_y, modes)
        Levels of the second ensemble, in the same units.
    metric : {"wasserstein", "kolmogorov_smirnov", "energy"}, default "wasserstein"
        Distance of the ensembles.
    n_resamples : int, default 1000
        Relabellings. For 10⁴ members of 16 modes, 1000 of them take seconds.
    key : int or jax.Array, default 0
        Of the relabellings.
    per_level : bool, default False
        The older way to ask for comparison="each".
    comparison : {"mean", "each", "pooled"}, default "mean"
        "mean" compares level by level and averages over them (one p-value). "each" gives every level its own
        effect size and p-value, uncorrected for their number. "pooled" forgets which level is which and
        measures in widths of the whole spectrum. See `wasserstein`.

    Returns
    -------
    PermutationTest
        Effect size and p-value.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        If the shapes do not fit or a level is not finite.

    Notes
    -----
    The p-value is exact for any correlation between the levels of a member. With large ensembles it tends to
    0 for any approximation, however good: read the effect size first.

    Examples
    --------
    >>> x = dj.spectra.sample_goe(0, n=4, shape=200)
    >>> y = dj.spectra.sample_goe(1, n=4, shape=200)
    >>> same, wider = (dj.spectra.permutation_test(x, scale * y, n_resamples=199) for scale in (1.0, 1.2))
    >>> same.p_value > 0.05, wider.p_value
    (True, 0.005)
    """
    one_of("metric", metric, tuple(DISTANCES))
    n_resamples = positive_int("n_resamples", n_resamples)
    comparison = which(comparison, per_level)
    x, y = as_members("x", x, min_members=2), as_members("y", y, min_members=2)
    lead = x.shape[:-2]
    if y.shape[:-2] != lead:
        raise InputError(f"x and y must share their leading axes, got shapes {x.shape} and {y.shape}")
    if not lead:
        return _permuted(x, y, metric, n_resamples, int(key), comparison)
    found = [
        _permuted(a, b, metric, n_resamples, int(key), comparison)
        for a, b in zip(x.reshape(-1, *x.shape[-2:]), y.reshape(-1, *y.shape[-2:]), strict=True)
    ]
    effect, p_value = ([getattr(one, name) for one in found] for name in ("distance", "p_value"))
    shape = (*lead, *np.shape(effect[0]))
    return PermutationTest(np.reshape(effect, shape), np.reshape(p_value, shape), n_resamples)


def _permuted(
    x: np.ndarray, y: np.ndarray, metric: str, n_resamples: int, seed: int, comparison: str
) -> PermutationTest:
    pools = PooledLevels.of(x, y, comparison)
    members = len(x) + len(y)
    first = np.arange(members) < len(x)

    def effects(labels):  # (labellings, 1) or, for each level by itself, (labellings, modes)
        found = np.stack([pool.distances(labels, metric) for pool in pools], axis=1)
        return found if comparison == "each" else found.mean(axis=1, keepdims=True)

    observed = effects(first[None])[0]
    exceeded = np.zeros(observed.size, dtype=int)
    rng = np.random.default_rng(seed)
    chunk = max(1, CHUNK // (4 * pools[0].owner.size))
    for start in range(0, n_resamples, chunk):
        rows = min(chunk, n_resamples - start)
        labels = np.stack([rng.permutation(first) for _ in range(rows)])
        # The margin makes a relabelling that reproduces the data count as a tie despite rounding.
        exceeded += (effects(labels) >= observed * (1 - 1e-12)).sum(axis=0)
    p_value = (1 + exceeded) / (1 + n_resamples)
    if comparison == "each":
        return PermutationTest(observed, p_value, n_resamples)
    return PermutationTest(float(observed[0]), float(p_value[0]), n_resamples)
