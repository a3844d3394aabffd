"""Level spacings: bare, unfolded, and as ratios that need no unfolding."""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dysonjax import renamed, threefry
from dysonjax.checks import InputError, one_of, positive_int
from dysonjax.keys import Key, keyed
from dysonjax.spectra.averages import mean_and_sem
from dysonjax.spectra.batching import Numbers
from dysonjax.spectra.law import Law
from dysonjax.spectra.levels import ascending
from dysonjax.spectra.members import MODE, ensemble, of_members
from dysonjax.spectra.samplers import sample_beta_hermite, sample_beta_laguerre

UNFOLDINGS = ("index", "density", "polynomial")


@of_members(keeps="spacing", alone=True, one_axis="modes")
def spacings(x: ArrayLike, *, member_axis: int | str | None = None, nan_policy: str = "raise") -> np.ndarray:
    """Spacings of neighbouring levels, S_i = x_{i+1} − x_i.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., modes)
        Levels, ascending, at least 2.

    Returns
    -------
    ndarray or DataArray, shape (..., modes − 1)
        Spacings in the units of the levels; of labelled levels along the dimension `spacing`.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        If x has fewer than 2 levels or they are not ascending.

    Examples
    --------
    >>> dj.spectra.spacings([[0.0, 1.0, 3.0], [1.0, 1.5, 2.5]]).tolist()
    [[1.0, 2.0], [0.5, 1.0]]
    """
    return np.diff(ascending(x), axis=-1)


@of_members(keeps=MODE)
def unfold(
    x: ArrayLike,
    method: str | Law = "index",
    degree: int = 5,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> np.ndarray:
    """Put levels on the scale on which their mean density is one.

    `spacings` of the result are unfolded spacings.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, modes)
        Levels, ascending. Leading axes are unfolded separately.
    method : {"index", "density", "polynomial"} or law, default "index"
        What the mean density is taken from:

        - "index": s_i = S_i/⟨S_i⟩ over the members, level by level. The result starts at 0.
        - "density": the members' averaged cumulative density, by rank among all their levels.
        - "polynomial": a polynomial through that averaged staircase.
        - a law of a single level, such as `Semicircle`: modes · law.cdf(x).
    degree : int, default 5
        Degree of the polynomial.

    Returns
    -------
    ndarray or DataArray
        Unfolded levels in float64, with the shape of x.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For fewer than 2 members with "index" or "density", for spacings that vanish in all members ("index"),
        and for a polynomial that is not increasing.

    Examples
    --------
    >>> x = dj.spectra.sample_beta_hermite(0, n=64, beta=1.0, shape=(200,))
    >>> s = dj.spectra.spacings(dj.spectra.unfold(x, dj.spectra.Semicircle(radius=16.0)))[:, 16:-16]
    >>> bool(abs(s.mean() - 1) < 0.02)
    True
    """
    if not isinstance(method, str):
        x = ascending(x)
        return x.shape[-1] * np.asarray(method.cdf(x))
    one_of("method", method, UNFOLDINGS)
    x = ascending(x, min_ndim=2)
    if method != "polynomial" and x.shape[-2] < 2:
        raise InputError(
            f'method "{method}" averages over members and needs at least 2, got 1: use "polynomial" or a law'
        )
    if method == "index":
        return _by_index(x)
    flat = x.reshape(-1, *x.shape[-2:])
    if method == "density":
        return np.stack([_by_rank(ensemble) for ensemble in flat]).reshape(x.shape)
    degree = positive_int("degree", degree)
    if flat[0].size <= degree:
        raise InputError(f"degree must be below the number of levels, {flat[0].size}, got {degree}")
    return np.stack([_by_polynomial(ensemble, degree) for ensemble in flat]).reshape(x.shape)


@of_members(keeps="ratio", alone=True, one_axis="modes")
def spacing_ratio(
    x: ArrayLike, *, member_axis: int | str | None = None, nan_policy: str = "raise"
) -> np.ndarray:
    """Ratio r̃ of every two neighbouring spacings, the smaller over the larger one.

    It needs no unfolding.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., modes)
        Levels, ascending, at least 3.

    Returns
    -------
    ndarray or DataArray, shape (..., modes − 2)
        r̃ = min(S_i, S_{i+1})/max(S_i, S_{i+1}); of labelled levels along the dimension `ratio`.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        If x has fewer than 3 levels, if they are not ascending, or if three are equal, where r̃ is undefined.

    Notes
    -----
    Atas et al., PRL 110 (2013) 084101.

    Examples
    --------
    >>> dj.spectra.spacing_ratio([0.0, 1.0, 3.0, 3.5]).tolist()
    [0.5, 0.25]
    """
    s = np.diff(ascending(x, modes=3), axis=-1)
    small, large = np.minimum(s[..., 1:], s[..., :-1]), np.maximum(s[..., 1:], s[..., :-1])
    if (large == 0).any():
        raise InputError(
            "x has three equal levels in a row, where the ratio is undefined: remove repeated levels"
        )
    return small / large


class MeanRatio(NamedTuple):
    """Mean spacing ratio ⟨r̃⟩ of an ensemble, beside what random matrices of the same size give.

    Numbers or arrays of the leading shape.
    """

    value: Numbers
    """mean over all pairs and members"""
    value_err: Numbers
    """standard error over members; for a single member, from the null's scatter"""
    null: Numbers
    """the same mean in the null ensemble"""
    null_err: Numbers
    """its standard error"""
    z: Numbers
    """(value − null) in combined standard errors"""

    @property
    def error(self) -> Numbers:
        """Old name of `value_err`."""
        warnings.warn("error is now called value_err", DeprecationWarning, stacklevel=2)
        return self.value_err

    @property
    def null_error(self) -> Numbers:
        """Old name of `null_err`."""
        warnings.warn("null_error is now called null_err", DeprecationWarning, stacklevel=2)
        return self.null_err


@renamed.arguments(n_samples="draws")
@keyed
@of_members(one_axis="modes")
def mean_spacing_ratio(
    x: ArrayLike,
    null: ArrayLike | None = None,
    rows: float | None = None,
    beta: float = 1.0,
    n_samples: int = 2000,
    key: Key = 0,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> MeanRatio:
    """Mean spacing ratio ⟨r̃⟩ with its error, beside a null ensemble of the same number of levels.

    At small N and near a hard edge ⟨r̃⟩ differs from its bulk value, 0.5307 for β = 1. The null must
    therefore be of the same size and kind.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, modes)
        Levels, ascending, at least 3. Every entry of the leading axes, such as a record, is an ensemble of
        its own.
    null : array_like or DataArray, shape (..., modes), optional
        Levels of the null ensemble, all of them independent, with as many modes as x. By default `n_samples`
        samples are made: of the β-Laguerre ensemble where `rows` is given, else of the β-Hermite ensemble.
    rows : float, optional
        Rows of W, where the levels are those of X = WᵀW and W has the shape (rows, modes).
    beta : float, default 1.0
        Dyson index of the null.
    n_samples : int, default 2000
        Samples of the null.
    key : int or jax.Array, default 0
        Of the null's randomness.

    Returns
    -------
    MeanRatio
        Mean and error of data and null, and their distance in errors.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For fewer than 3 levels, or a null of another size.

    Examples
    --------
    Levels of a Wishart matrix repel as those of another one, independent ones do not repel.

    >>> x = dj.spectra.sample_wishart(1, n=10, m=20, shape=500)
    >>> apart = np.sort(np.random.default_rng(0).random((500, 10)), axis=1)
    >>> [bool(abs(dj.spectra.mean_spacing_ratio(y, rows=20).z) < 3) for y in (x, apart)]
    [True, False]
    """
    x = ascending(x, modes=3)
    x = x[None] if x.ndim == 1 else x
    modes = x.shape[-1]
    if null is None:
        key, n_samples = threefry.root(key), positive_int("n_samples", n_samples, 2)
        if rows is None:
            null = sample_beta_hermite(key, modes, beta, 1.0, (n_samples,))
        else:
            null = sample_beta_laguerre(key, modes, rows, beta, 1.0, (n_samples,))
    if "record" in getattr(null, "dims", ()):
        raise InputError("null must hold independent spectra, not one at several records: select one record")
    null = ascending(ensemble("null", null, one_axis="modes").values, modes=3, min_ndim=2)
    if null.shape[-1] != modes:
        raise InputError(f"null must have as many levels as x, {modes}, got {null.shape[-1]}")
    own = spacing_ratio(x).mean(axis=-1)
    reference = spacing_ratio(null).mean(axis=-1).ravel()
    if reference.size < 2:
        raise InputError("null must hold at least 2 members, got 1")
    value, error = mean_and_sem(own, axis=-1)
    if own.shape[-1] == 1:
        error = np.full_like(value, reference.std(ddof=1))
    expected, null_err = mean_and_sem(reference)
    z = (value - expected) / np.hypot(error, null_err)
    numbers = np.broadcast_arrays(value, error, expected, null_err, z)
    return MeanRatio._make(float(v) if v.ndim == 0 else v.copy() for v in numbers)


def of_unit_mean(s: np.ndarray) -> np.ndarray:
    """S_i/⟨S_i⟩ over the members, spacing by spacing: unfolding by index. s: (..., members, spacings)."""
    mean = s.mean(axis=-2, keepdims=True)
    if (mean == 0).any():
        raise InputError('a spacing is zero in every member: remove repeated levels, or unfold by "density"')
    return s / mean


def _by_index(x: np.ndarray) -> np.ndarray:
    s = of_unit_mean(np.diff(x, axis=-1))
    return np.concatenate([np.zeros_like(x[..., :1]), np.cumsum(s, axis=-1)], axis=-1)


def _by_rank(x: np.ndarray) -> np.ndarray:
    """Half-way up each step of the pooled staircase; equal levels share the mean of their ranks."""
    pooled = np.sort(x, axis=None)
    below, upto = np.searchsorted(pooled, x, "left"), np.searchsorted(pooled, x, "right")
    return (below + upto) / (2 * x.shape[0])


def _by_polynomial(x: np.ndarray, degree: int) -> np.ndarray:
    pooled = np.sort(x, axis=None)
    staircase = (np.arange(pooled.size) + 0.5) / x.shape[0]
    if pooled[0] == pooled[-1]:
        raise InputError("all levels are equal: there is no density to unfold with")
    smooth = np.polynomial.Polynomial.fit(pooled, staircase, degree)
    unfolded = smooth(x)
    if (np.diff(unfolded, axis=-1) < 0).any():
        raise InputError(
            f"the polynomial of degree {degree} is not increasing over all levels: cut off the sparse edges"
            " or choose another degree"
        )
    return unfolded
