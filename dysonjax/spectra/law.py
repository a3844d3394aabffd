"""What the laws share: checked arguments, numeric inversion of a cdf and the result's shape.

Every law is a frozen dataclass with `pdf(x)`, `logpdf(x)`, `cdf(x)`, `sf(x)`, `ppf(u)`, `isf(u)`,
`rvs(size, random_state)`, `mean()`, `var()`, `std()` and `support()` in SciPy's manner: arrays of any shape
in, float64 of the same shape out, a float for a scalar. NaN arguments give NaN; probabilities outside [0, 1]
give NaN, as in SciPy.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.typing import ArrayLike
from scipy.fft import dct

Size = int | tuple[int, ...] | None
RandomState = int | np.random.Generator | np.random.RandomState | None


class Law(Protocol):
    """A distribution of levels or spacings, in the units of its parameters."""

    def pdf(self, x: ArrayLike) -> Any:
        """Density at `x`, in 1/units of x."""

    def cdf(self, x: ArrayLike) -> Any:
        """Probability of a value ≤ x."""

    def ppf(self, u: ArrayLike) -> Any:
        """Smallest x with cdf(x) ≥ u."""

    def rvs(self, size: Size = None, random_state: RandomState = None) -> Any:
        """Independent draws of shape `size`; a scalar for None."""

    def mean(self) -> float:
        """First moment."""

    def var(self) -> float:
        """Second central moment."""


class Derived:
    """What follows from density, distribution function, its inverse and the variance."""

    def logpdf(self: Law, x: ArrayLike) -> Any:
        """Logarithm of the density, −inf where it is zero."""
        with np.errstate(divide="ignore"):
            return scalar_or_array(np.log(self.pdf(x)))

    def sf(self: Law, x: ArrayLike) -> Any:
        """Probability of a value > x, 1 − cdf: good to 1e-16, not to a relative error far out."""
        return scalar_or_array(1 - real(self.cdf(x)))

    def isf(self: Law, u: ArrayLike) -> Any:
        """Inverse of `sf`."""
        return self.ppf(1 - real(u))

    def std(self: Law) -> float:
        """Standard deviation, units of x."""
        return math.sqrt(self.var())

    def support(self: Law) -> tuple[float, float]:
        """The ends of the interval that holds all values."""
        return float(self.ppf(0.0)), float(self.ppf(1.0))


class HasScipy(Protocol):
    """What holds a frozen distribution of SciPy."""

    @property
    def scipy(self) -> Any: ...


class ScipyLaw(Derived):
    """A law that SciPy has, under the name and in the parameters of the field; `scipy` is the frozen one."""

    def pdf(self: HasScipy, x: ArrayLike) -> Any:
        """Density at `x`, in 1/units of x."""
        return scalar_or_array(self.scipy.pdf(real(x)))

    def cdf(self: HasScipy, x: ArrayLike) -> Any:
        """Probability of a value ≤ x."""
        return scalar_or_array(self.scipy.cdf(real(x)))

    def ppf(self: HasScipy, u: ArrayLike) -> Any:
        """Inverse of `cdf`."""
        return scalar_or_array(self.scipy.ppf(real(u)))

    def logpdf(self: HasScipy, x: ArrayLike) -> Any:
        """Logarithm of the density, −inf where it is zero."""
        return scalar_or_array(self.scipy.logpdf(real(x)))

    def sf(self: HasScipy, x: ArrayLike) -> Any:
        """Probability of a value > x, to a relative error also far out."""
        return scalar_or_array(self.scipy.sf(real(x)))

    def isf(self: HasScipy, u: ArrayLike) -> Any:
        """Inverse of `sf`."""
        return scalar_or_array(self.scipy.isf(real(u)))

    def rvs(self: HasScipy, size: Size = None, random_state: RandomState = None) -> Any:
        """Independent draws, shape `size`."""
        shape = () if size is None else size
        return scalar_or_array(np.asarray(self.scipy.rvs(shape, random_state=generator(random_state))))

    def mean(self: HasScipy) -> float:
        """First moment."""
        return float(self.scipy.mean())

    def var(self: HasScipy) -> float:
        """Second central moment."""
        return float(self.scipy.var())


def real(x: Any) -> np.ndarray:
    """`x` as a float64 array."""
    return np.asarray(x, dtype=np.float64)


def probability(u: Any) -> np.ndarray:
    """`u` as a float64 array with everything outside [0, 1] turned into NaN."""
    u = real(u)
    return np.where((u >= 0) & (u <= 1), u, np.nan)


def scalar_or_array(x: np.ndarray) -> Any:
    """A float for a zero-dimensional result, else the array itself."""
    return float(x) if np.ndim(x) == 0 else x


def generator(random_state: RandomState) -> np.random.Generator | np.random.RandomState:
    """`random_state` as something with `random` draws: a seed, None or a generator as in SciPy."""
    if isinstance(random_state, np.random.Generator | np.random.RandomState):
        return random_state
    return np.random.default_rng(random_state)


def uniform(size: Size, random_state: RandomState) -> np.ndarray:
    """Uniform draws in [0, 1) for inverse-cdf sampling."""
    return np.asarray(generator(random_state).uniform(size=size))


def invert(
    cdf: Callable[[np.ndarray], np.ndarray],
    pdf: Callable[[np.ndarray], np.ndarray],
    u: np.ndarray,
    low: float,
    high: float,
) -> np.ndarray:
    """Solve cdf(x) = u on [low, high] for every entry of `u`: Newton steps inside a shrinking bracket.

    The bracket makes it safe where the density vanishes or diverges (a Newton step that would leave it
    becomes a bisection, and so does every third step, against one-sided convergence).
    """
    u = real(u)
    below, above = np.full(u.shape, float(low)), np.full(u.shape, float(high))
    if u.size > 4096:  # a table of the cdf spares most of the steps
        grid = np.linspace(low, high, 2049)
        cell = np.clip(np.searchsorted(np.maximum.accumulate(cdf(grid)), u), 1, 2048)
        # One cell more on either side, for a cdf whose rounding is not monotonic.
        below, above = grid[np.maximum(cell - 2, 0)], grid[np.minimum(cell + 1, 2048)]
    x = np.where(np.isnan(u), np.nan, 0.5 * (below + above))
    tolerance = 4 * np.finfo(float).eps
    for step in range(200):
        miss = cdf(x) - u
        below = np.where(miss < 0, x, below)
        above = np.where(miss > 0, x, above)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = x - miss / pdf(x)
        usable = (newton > below) & (newton < above) & (step % 3 != 2)
        following = np.where(miss == 0, x, np.where(usable, newton, 0.5 * (below + above)))
        moved = np.abs(following - x)
        x = following
        if not np.any(moved > tolerance * np.maximum(np.abs(x), tolerance)):
            break
    x = np.where(u <= 0, low, np.where(u >= 1, high, x))
    return np.where(np.isnan(u), np.nan, x)


def chebyshev(
    function: Callable[[np.ndarray], np.ndarray], low: float, high: float, degree: int
) -> Chebyshev:
    """Chebyshev interpolant of a smooth function on [low, high], its coefficients by a cosine transform."""
    nodes = degree + 1
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)
    coefficients = dct(function(x), type=2) / nodes
    coefficients[0] /= 2
    return Chebyshev(coefficients, domain=[low, high])
