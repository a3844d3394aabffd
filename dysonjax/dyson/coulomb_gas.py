"""The stationary law of Dyson Brownian motion, P_s ∝ Π_{i<j} |x_i − x_j|^β exp(−Σ V_i/g_i²). [A] Eq. 2.5.

For the equation dx_i = (K_i + β g_i² Σ_j 1/(x_i − x_j)) dt + √2 g_i dB_i the law is exact on ordered levels
whatever the constants g_i: the probability current of level i, K_i P + β g_i² Σ_j P/(x_i − x_j) − g_i² ∂_i P,
vanishes level by level. It does not hold for matrix dynamics with unequal noise: there the repulsion between
i and j has one strength for both, and so is not this equation.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.checks import InputError, finite_array, one_of, positive, positive_int
from dysonjax.dyson import mcmc
from dysonjax.dyson.chart import OrderedChart
from dysonjax.dyson.noise import SquareRoot, Strength
from dysonjax.dyson.pair_sampler import sample_pair
from dysonjax.dyson.potentials import Potential
from dysonjax.spectra.samplers import sample_beta_hermite, sample_beta_laguerre

CHAINS = 32
MIXED = 400  # draws per chain from which R̂ is known to a few thousandths
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclasses.dataclass(frozen=True, eq=False)
class CoulombGas:
    """The stationary law for a potential, noise strengths and a Dyson index.

    potential, g2: as for `integrate`, without member axes. beta: > 0. levels: number of levels N; may be left
    out where g2 or the potential has one value per level. Raises InputError if nothing confines the levels,
    a parameter is out of range or N is unknown.

    >>> gas = CoulombGas(quadratic(omega=1.0, center=0.0), g2=0.5, beta=1.0, levels=3)
    >>> gas.sample(jax.random.key(0), 1000).shape
    (1000, 3)
    """

    potential: Potential
    g2: Strength
    beta: float = 1.0
    levels: int | None = None
    _origin: Any = dataclasses.field(default=None, init=False, repr=False)  # a point of the support

    def __post_init__(self):
        object.__setattr__(self, "beta", positive("beta", self.beta))
        shapes = [np.shape(p) for p in self.potential.params]
        if not callable(self.g2):
            g2 = finite_array("g2", self.g2, min_ndim=0)
            if not np.all(g2 > 0):
                raise InputError(f"g2 must be positive, got {float(np.min(g2)):g}")
            object.__setattr__(self, "g2", g2)
            shapes.append(g2.shape)
        if any(len(shape) > 1 for shape in shapes):
            raise InputError("a CoulombGas is one law: give g2 and the potential one value per level at most")
        known = {shape[0] for shape in shapes if shape}
        if self.levels is not None:
            known.add(positive_int("levels", self.levels))
        if len(known) != 1:
            raise InputError(
                "levels must be given: neither g2 nor the potential has one value per level"
                if not known
                else f"g2, the potential and levels disagree on the number of levels: {sorted(known)}"
            )
        object.__setattr__(self, "levels", known.pop())
        self._check_confinement()
        object.__setattr__(self, "_origin", self._start())

    @property
    def chart(self) -> OrderedChart:
        return OrderedChart(float(np.max(self.potential.lower)), float(np.min(self.potential.upper)))

    def energy(self, x):
        """U_i(x_i) with P ∝ Π|Δ|^β e^{−ΣU}: V/g², or for g(x) (Itô) U′ = ((g²)′ − K)/g²; shape of x."""
        if isinstance(self.g2, SquareRoot) and self.potential.name == "wishart":
            omega, shape = self.potential.params
            return omega / self.g2.c * x - (shape / self.g2.c - 1) * jnp.log(x)
        if callable(self.g2):
            return _ito_energy(self.potential, self.g2, x)
        return self.potential.potential(x) / self.g2

    def log_prob(self, x) -> np.ndarray:
        """Log-density up to a constant, shape (...), for x of shape (..., levels); −inf where not ordered."""
        x = np.asarray(x, dtype=np.float64)
        with jax.enable_x64(True):
            return np.asarray(self._log_prob(jnp.asarray(x)))

    def grad_log_prob(self, x) -> np.ndarray:
        """Gradient of `log_prob`, shape of x."""
        x = np.asarray(x, dtype=np.float64)
        with jax.enable_x64(True):
            flat = jnp.asarray(x.reshape(-1, self.levels))
            return np.asarray(jax.vmap(jax.grad(self._log_prob))(flat)).reshape(x.shape)

    def sample(self, key, n: int, method: str = "auto", **options) -> np.ndarray:
        """n draws, float64, shape (n, levels), ascending.

        method: "auto" is exact where the law is known — β-Hermite (quadratic, all levels alike), β-Laguerre
        (laguerre with equal g, wishart with SquareRoot noise), two levels by quadrature — and "mcmc"
        otherwise, with a warning if R̂ ≥ 1.01 or the effective sample size is below 400. `run_mcmc` returns
        these numbers; options go to it.
        """
        n = positive_int("n", n)
        one_of("method", method, ("auto", "exact", "mcmc"))
        if method != "mcmc":
            exact = self._exact_sampler()
            if exact is not None:
                return exact(key, n)
            if method == "exact":
                raise InputError(
                    f"no exact sampler is known for a {self.potential.name} gas; use method='mcmc'"
                )
        chains = self.run_mcmc(key, max(n, MIXED * options.get("chains", CHAINS)), **options)
        mcmc.warn_if_poor(chains)
        return chains.flat(n)

    def run_mcmc(self, key, n: int, chains: int = CHAINS, warmup: int = 400) -> mcmc.Chains:
        """At least n draws by Hamiltonian Monte Carlo in log-gaps, with R̂ and effective sample size.

        All chains start around one maximum of the density: wells behind a high barrier stay unseen.
        """
        n, chains = positive_int("n", n), positive_int("chains", chains, 4)
        warmup = positive_int("warmup", warmup, 20)
        chart = self.chart
        target = _ChartDensity(self, chart)
        with jax.enable_x64(True):
            mode, curvature = mcmc.climb(target, np.asarray(chart.coordinates(jnp.asarray(self._origin))))
            return mcmc.sample_chains(
                target,
                chart.positions,
                mode,
                curvature,
                key,
                max(8, -(-n // chains)),
                chains,
                warmup,
            )

    def most_likely(self) -> np.ndarray:
        """The configuration of largest density, shape (levels,): Fekete points, e.g. zeros of Hermite."""
        chart = self.chart
        with jax.enable_x64(True):
            start = np.asarray(chart.coordinates(jnp.asarray(self._origin)))
            best, _ = mcmc.climb(lambda z: self._log_prob(chart.levels(z)[0]), start)
            return np.asarray(chart.levels(jnp.asarray(best))[0])

    def _log_prob(self, x):
        gaps = jnp.diff(x, axis=-1)
        rows, columns = np.triu_indices(self.levels, 1)
        distance = x[..., columns] - x[..., rows]
        lower, upper = self.chart.lower, self.chart.upper
        inside = jnp.all(gaps > 0, axis=-1) & (x[..., 0] > lower) & (x[..., -1] < upper)
        distance = jnp.where(inside[..., None], distance, 1.0)
        safe = jnp.where(inside[..., None], x, self._origin)
        value = self.beta * jnp.sum(jnp.log(distance), axis=-1) - jnp.sum(self.energy(safe), axis=-1)
        return jnp.where(inside, value, -jnp.inf)

    def _force(self, x: np.ndarray) -> np.ndarray:
        """−U′ at x of shape (..., levels)."""
        with jax.enable_x64(True), np.errstate(all="ignore"):
            x = jnp.asarray(x)
            if callable(self.g2):
                value, change = jax.jvp(self.g2, (x,), (jnp.ones_like(x),))
                return np.asarray((self.potential.drift(x) - change) / value)
            return np.asarray(self.potential.drift(x) / self.g2)

    def _check_confinement(self) -> None:
        """Raise InputError unless e^{−U}|x|^{β(N−1)} is integrable for every level, at both ends."""
        chart = self.chart
        power = self.beta * (self.levels - 1) + 1
        message = (
            f"the {self.potential.name} potential is not confining: the gas has no stationary law"
            "; choose a potential that grows faster than the repulsion, or integrate without comparing"
        )
        ends = ((chart.lower, 1.0), (chart.upper, -1.0))
        for end, inwards in ends:
            if math.isfinite(end):
                reflecting = self.potential.reflecting[0 if inwards > 0 else 1]
                if callable(self.g2) or not reflecting:
                    # Near a wall e^{−U} ~ distance^a with a = distance · force.
                    near = 1e-9 * (1 + abs(end))
                    exponent = near * inwards * self._force(np.full(self.levels, end + inwards * near))
                    if not np.all(exponent > -1 + 1e-6):
                        raise InputError(f"{message} (the density diverges at the wall x = {end:g})")
                continue
            scale = 1.0 + max(
                (float(np.max(np.abs(p), initial=0.0)) for p in self.potential.params), default=0.0
            )
            x = -inwards * scale * np.array([1e4, 1e6])[:, None] * np.ones(self.levels)
            pull = -x * self._force(x)
            if not np.all(pull > power):
                raise InputError(message)

    def _start(self) -> np.ndarray:
        """Ordered levels near the minima of U, for the optimiser."""
        chart = self.chart
        width, grid = _search_grid(chart)
        with jax.enable_x64(True):
            height = np.asarray(self.energy(jnp.asarray(np.repeat(grid[:, None], self.levels, axis=1))))
        height = np.where(np.isfinite(height), height, np.inf)
        center = grid[np.argmin(height, axis=0)]
        center = np.maximum.accumulate(center)
        stretch = np.linspace(-1, 1, self.levels) if self.levels > 1 else np.zeros(1)
        if math.isfinite(chart.lower) and math.isfinite(chart.upper):
            fair = chart.lower + width * (np.arange(self.levels) + 1.0) / (self.levels + 1.0)
            return 0.9 * center + 0.1 * fair
        unit = np.ptp(center) + np.sqrt(self.beta * self.levels) * self._unit(float(np.median(center)))
        x = center + unit * stretch
        if math.isfinite(chart.lower):
            return chart.lower + np.abs(np.median(center) - chart.lower) * np.exp(stretch) * (
                1 + 1e-3 * stretch
            )
        if math.isfinite(chart.upper):
            x = chart.upper - (chart.upper - np.median(center)) * np.exp(-stretch)
        return x

    def _unit(self, x: float) -> float:
        """1/√U″, the width of one level alone."""
        step = 1e-3 * (1 + abs(x))
        force = self._force(np.array([[x - step], [x + step]]) * np.ones(self.levels))
        stiffness = float(np.median((force[0] - force[1]) / (2 * step)))
        return 1 / math.sqrt(stiffness) if stiffness > 1e-6 else 1.0

    def _exact_sampler(self) -> Callable[[Any, int], np.ndarray] | None:
        name, params, n = self.potential.name, self.potential.params, self.levels
        alike = all(np.ptp(p) == 0 for p in params)
        first = [float(np.ravel(p)[0]) for p in params]
        if name == "quadratic" and alike and not callable(self.g2) and np.ptp(self.g2) == 0:
            omega, center = first
            scale = math.sqrt(self.beta * float(np.ravel(self.g2)[0]) / (2 * omega))
            return lambda key, size: center + sample_beta_hermite(key, n, self.beta, scale, (size,))
        laguerre = None
        if name == "laguerre" and alike and not callable(self.g2) and np.ptp(self.g2) == 0:
            noise = float(np.ravel(self.g2)[0])
            laguerre = first[0] / noise, first[1] / noise
        if name == "wishart" and alike and isinstance(self.g2, SquareRoot):
            laguerre = first[0] / self.g2.c, first[1] / self.g2.c - 1
        if laguerre is not None:
            rate, power = laguerre
            rows = n - 1 + 2 * (power + 1) / self.beta
            scale = math.sqrt(self.beta / (2 * rate))
            return lambda key, size: sample_beta_laguerre(key, n, rows, self.beta, scale, (size,))
        if n == 2:
            return lambda key, size: sample_pair(self, key, size)
        return None


@dataclasses.dataclass(frozen=True)
class _ChartDensity:
    """log P in chart coordinates, Jacobian included."""

    gas: CoulombGas
    chart: OrderedChart

    def __call__(self, z):
        x, jacobian = self.chart.levels(z)
        return self.gas._log_prob(x) + jacobian


def _ito_energy(potential: Potential, g2: Callable, x):
    """−∫ (K − (g²)′)/g² dx from a reference point; on a half line in log x, where walls are regular."""
    lower = float(np.max(potential.lower))
    half_line = math.isfinite(lower)
    reference = lower + 1.0 if half_line else 0.0

    def force(y):
        value, change = jax.jvp(g2, (y,), (jnp.ones_like(y),))
        return (potential.drift(y) - change) / value

    total = 0.0
    half = 0.5 * (jnp.log(x - lower) if half_line else x - reference)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        if half_line:
            distance = jnp.exp(half * (1 + float(node)))
            total = total + float(weight) * force(lower + distance) * distance
        else:
            total = total + float(weight) * force(reference + half * (1 + float(node)))
    return -half * total


def _search_grid(chart: OrderedChart) -> tuple[float, np.ndarray]:
    if math.isfinite(chart.lower) and math.isfinite(chart.upper):
        width = chart.upper - chart.lower
        return width, chart.lower + width * np.linspace(1e-4, 1 - 1e-4, 4001)
    far = np.geomspace(1e-4, 1e4, 2001)
    if math.isfinite(chart.lower):
        return 1.0, chart.lower + far
    if math.isfinite(chart.upper):
        return 1.0, chart.upper - far[::-1]
    return 1.0, np.concatenate([-far[::-1], [0.0], far])
