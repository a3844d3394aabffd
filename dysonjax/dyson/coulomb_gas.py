"""The stationary law of Dyson Brownian motion, P_s ∝ Π_{i<j} |x_i − x_j|^β exp(−Σ V_i/g_i²). [A] Eq. 2.5.

For the equation dx_i = (K_i + β g_i² Σ_j 1/(x_i − x_j)) dt + √2 g_i dB_i the law is exact on ordered levels
whatever the constants g_i: the probability current of level i, K_i P + β g_i² Σ_j P/(x_i − x_j) − g_i² ∂_i P,
vanishes level by level. It does not hold for matrix dynamics with unequal noise: there the repulsion between
i and j has one strength for both, and so is not this equation.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dysonjax import renamed
from dysonjax.checks import (
    InputError,
    finite_array,
    memory,
    one_of,
    positive,
    positive_int,
    random_key,
)
from dysonjax.dyson import mcmc
from dysonjax.dyson.batches import on_host
from dysonjax.dyson.chart import OrderedChart
from dysonjax.dyson.exact_table import LARGEST_LEVELS, Table, build_table, sample_table
from dysonjax.dyson.landscape import Landscape, Maxima, find_maxima, one_maximum, scan
from dysonjax.dyson.line import Line, integral
from dysonjax.dyson.noise import SquareRoot, Strength
from dysonjax.dyson.potential import Potential
from dysonjax.dyson.wells import quadratic
from dysonjax.spectra.samplers import sample_beta_hermite, sample_beta_laguerre

CHAINS = 32
CELLS = 400  # of the table by which levels jump between wells


@renamed.arguments(n="levels")
@dataclasses.dataclass(frozen=True, eq=False, init=False)
class CoulombGas:
    """The stationary law of Dyson Brownian motion for a potential, noise strengths and a Dyson index.

    Parameters
    ----------
    potential : Potential
        Drift and domain, as for `integrate`, without member axes.
    g2 : float, array of shape (levels,), SquareRoot or callable
        Noise strengths g_i², units of x² over time, as for `integrate`, without member axes.
    beta : float, default 1.0
        Dyson index, above 0.
    n : int, optional
        Number of levels N. It may be left out where `g2` or the potential has one value for each level.

    Raises
    ------
    InputError
        If nothing confines the levels, a parameter is out of range or N is unknown.

    Notes
    -----
    P_s ∝ Π_{i<j} |x_i − x_j|^β exp(−Σ V_i/g_i²) on ordered levels, [A] Eq. 2.5. For the equation that
    `integrate` solves this is exact whatever the constants g_i: the probability current vanishes level by
    level.

    Examples
    --------
    >>> gas = dj.dyson.CoulombGas(dj.dyson.quadratic(), g2=0.5, n=3)
    >>> gas.most_likely().round(3)
    array([-0.866, -0.   ,  0.866])
    >>> draws = gas.sample(jax.random.key(0), 1000)
    >>> draws.shape, bool((np.diff(draws) > 0).all())
    ((1000, 3), True)
    """

    potential: Potential
    g2: Strength
    beta: float
    n: int
    _origin: Any = dataclasses.field(default=None, init=False, repr=False)  # ordered levels in the domain
    # Walls where the density is infinite.
    _diverging: Any = dataclasses.field(default=(), init=False, repr=False)

    levels = renamed.field("n", "levels")

    def __init__(self, potential: Potential, g2: Strength, beta: float = 1.0, n: int | None = None) -> None:
        object.__setattr__(self, "potential", potential)
        object.__setattr__(self, "g2", g2)
        object.__setattr__(self, "beta", positive("beta", beta))
        object.__setattr__(self, "n", self._number_of_levels(n))
        memory(f"{self.n} levels", 300_000 * self.n, "take fewer")  # the scan of the potential
        object.__setattr__(self, "_origin", self.line.x((np.arange(self.n) + 0.5) / self.n - 0.5))
        self._check_confinement()

    def _number_of_levels(self, n: int | None) -> int:
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
        if n is not None:
            known.add(positive_int("n", n))
        if len(known) != 1:
            raise InputError(
                "n must be given: neither g2 nor the potential has one value per level"
                if not known
                else f"g2, the potential and n disagree on the number of levels: {sorted(known)}"
            )
        return known.pop()

    @property
    def line(self) -> Line:
        """The domain that all levels share."""
        return Line(float(np.max(self.potential.lower)), float(np.min(self.potential.upper)))

    @property
    def chart(self) -> OrderedChart:
        """Coordinates in which ordered levels inside the domain are free: their log-gaps."""
        return OrderedChart(self.line.lower, self.line.upper)

    def energy(self, x: Any) -> Any:
        """Energy U_i of every level by itself, where the law is P ∝ Π|Δ|^β e^{−ΣU}.

        Parameters
        ----------
        x : array, shape (..., levels)
            Levels inside the domain.

        Returns
        -------
        array, shape (..., levels)
            V/g², without unit. For noise g(x), read in the sense of Itô, the U with U′ = ((g²)′ − K)/g².
        """
        potential: Potential = self.potential
        g2: Any = self.g2
        if isinstance(x, jax.Array):  # in its precision, also where JAX knows no float64
            params = tuple(jnp.asarray(p, x.dtype) for p in potential.params)
            potential = dataclasses.replace(potential, params=params)
            g2 = g2 if callable(g2) else jnp.asarray(g2, x.dtype)
        if isinstance(g2, SquareRoot) and potential.name == "wishart":
            omega, shape = potential.params
            return omega / g2.c * x - (shape / g2.c - 1) * jnp.log(x)
        if callable(g2):
            return _ito_energy(potential, g2, self.line, x)
        return potential.potential(x) / g2

    def log_prob(self, x: ArrayLike) -> Any:
        """Log-density of levels, up to a constant.

        Parameters
        ----------
        x : array, shape (..., levels)
            Levels. Under `jax.jit`, `grad` and `vmap` they are traced, in the precision of the argument.

        Returns
        -------
        array, shape (...)
            Of numbers a float64 NumPy array; −inf where the levels are not ordered or leave the domain.

        Examples
        --------
        >>> gas = dj.dyson.CoulombGas(dj.dyson.quadratic(), g2=0.5, n=2)
        >>> jax.grad(gas.log_prob)(jnp.array([-1.0, 1.0])).tolist()
        [1.5, -1.5]
        """
        if isinstance(x, jax.core.Tracer):
            return self._compiled[0](x)
        return on_host(self._compiled[0], x, self.n)

    def grad_log_prob(self, x: ArrayLike) -> np.ndarray:
        """Gradient of `log_prob`.

        Parameters
        ----------
        x : array, shape (..., levels)
            Levels.

        Returns
        -------
        float64 array, shape (..., levels)
            ∂ log P/∂x_i, units of 1/x.
        """
        return on_host(self._compiled[1], x, self.n)

    @functools.cached_property
    def _compiled(self) -> tuple[Callable, Callable]:
        """`log_prob` and its gradient at many places, x of shape (rows, levels)."""
        return jax.jit(self._log_prob), jax.jit(jax.vmap(jax.grad(self._log_prob)))

    @renamed.arguments(n_samples="n")
    def sample(
        self, key: jax.Array | int, n_samples: int, method: str = "auto", **options: int
    ) -> np.ndarray:
        """Independent draws of the levels.

        Parameters
        ----------
        key : JAX key or int
            Randomness.
        n_samples : int
            Number of draws.
        method : {"auto", "exact", "mcmc"}, default "auto"
            "auto" is exact where that is possible and "mcmc" otherwise. "exact" draws come from the β-Hermite
            ensemble (quadratic, all levels alike), from the β-Laguerre ensemble (laguerre with equal g,
            wishart with SquareRoot noise) or, for up to three levels in any potential, from a table over the
            whole support. "mcmc" runs chains that jump between wells until their effective sample size is n,
            and thins them to it.
        **options
            `chains` and `warmup` of `run_mcmc`.

        Returns
        -------
        float64 array, shape (n, levels)
            Ascending in every draw.

        Raises
        ------
        InputError
            If "exact" is asked for and no exact sampler is known; or if the chains stay in the wells in which
            they began, since no draws are better than wrong ones.

        Warns
        -----
        RuntimeWarning
            If the chains have R̂ ≥ 1.01 or an effective sample size below 400. `run_mcmc` returns these
            numbers.
        """
        n_samples, key = positive_int("n_samples", n_samples), random_key("key", key)
        memory(f"{n_samples} draws of {self.n} levels", 32 * n_samples * self.n, "take fewer")
        one_of("method", method, ("auto", "exact", "mcmc"))
        if method != "mcmc":
            exact = self._exact_sampler(may_fail=method == "exact")
            if exact is not None:
                return exact(key, n_samples)
            if method == "exact":
                raise InputError(
                    f"no exact sampler is known for {self.n} levels in a {self.potential.name} "
                    "potential; use method='mcmc'"
                )
        with jax.enable_x64(True):
            return mcmc.draw_independent(self._walk(key, **options), n_samples)

    @renamed.arguments(n_samples="n")
    def run_mcmc(
        self, key: jax.Array | int, n_samples: int, chains: int = CHAINS, warmup: int = 400
    ) -> mcmc.Chains:
        """Draws by Hamiltonian Monte Carlo in log-gaps, with R̂ and the effective sample size.

        Where the law has several maxima, chains start in all of them and levels jump between wells.
        Successive draws are correlated: `Chains.independent()` thins them.

        Parameters
        ----------
        key : JAX key or int
            Randomness.
        n_samples : int
            Number of draws of all chains together, at least.
        chains : int, default 32
            Number of chains, at least 4.
        warmup : int, default 400
            Updates before the first draw, at least 20.

        Returns
        -------
        Chains
            Draws with their diagnostics.

        Raises
        ------
        InputError
            If an argument is out of range or the draws would not fit into memory.
        """
        n_samples, key = positive_int("n_samples", n_samples), random_key("key", key)
        memory(f"{n_samples} draws of {self.n} levels", 64 * n_samples * self.n, "take fewer")
        with jax.enable_x64(True):
            walk = self._walk(key, chains, warmup)
            return mcmc.chains_of(mcmc.extend(walk, -(-n_samples // (mcmc.SEGMENT * len(walk.z)))))

    def most_likely(self) -> np.ndarray:
        """The configuration of largest density: Fekete points, such as the zeros of a Hermite polynomial.

        With several wells, that of the best of all occupations that were found.

        Returns
        -------
        float64 array, shape (levels,)
            Ascending, units of x.

        Raises
        ------
        InputError
            If the density has no maximum because it diverges at a wall.
        """
        for wall in self._diverging:
            raise InputError(f"there is no most likely configuration: the density diverges at x = {wall:g}")
        return self.maxima.found[0].x.copy()

    @functools.cached_property
    def maxima(self) -> Maxima:
        """The maxima of the density and the barriers between wells, computed once."""
        return find_maxima(self._landscape)

    @functools.cached_property
    def one_maximum(self) -> bool:
        """Whether the density is known to have one maximum, because every U_i is convex."""
        return one_maximum(self._landscape)

    @functools.cached_property
    def _landscape(self) -> Landscape:
        def expand(x):
            def force(y):
                return -jax.jvp(self.energy, (y,), (jnp.ones_like(y),))[1]

            slope, bend = jax.jvp(force, (x,), (jnp.ones_like(x),))
            return self.energy(x), slope, -bend

        @jax.jit
        def everywhere(x):
            return [jnp.broadcast_to(v, x.shape) for v in expand(x)]

        def local(x):
            return on_host(everywhere, x, self.n)

        return Landscape(local, self.beta, self.n, self.line)

    @functools.cached_property
    def _table(self) -> Table:
        return build_table(self._landscape)

    def _walk(self, key, chains: int = CHAINS, warmup: int = 400) -> mcmc.Walk:
        chains, warmup = positive_int("chains", chains, 4), positive_int("warmup", warmup, 20)
        memory(f"{chains} chains of {self.n} levels", 64 * chains * self.n**2, "take fewer")
        target = mcmc.Target(self._log_prob, self.chart, self.beta)
        found = self.maxima.found[: max(1, chains // 2)]
        starts = np.stack([_off_the_walls(self.line, m.x) for m in found])
        curvatures = np.stack([m.curvature for m in found])
        return mcmc.warm_up(target, starts, curvatures, self._wells(), key, chains, warmup)

    def _wells(self) -> mcmc.Wells | None:
        """Cells that cover every place of a level in a maximum, and thinly all between; None for one."""
        maxima = self.maxima
        if not maxima.barriers.size:
            return None
        points = scan(self._landscape)[0]
        near = np.concatenate([[0.0], np.geomspace(0.1, 20, 12)])
        near = np.concatenate([-near[:0:-1], near])
        places = np.unique(
            np.concatenate([(m.x[:, None] + m.width[:, None] * near).ravel() for m in maxima.found])
        )
        places = places[(places > points[0]) & (places < points[-1])]
        places = places[np.unique(np.linspace(0, len(places) - 1, CELLS).astype(int))]
        edges = np.unique(np.concatenate([places, np.quantile(points, np.linspace(0, 1, 65))]))
        middle = 0.5 * (edges[1:] + edges[:-1])
        energy = self._landscape.local(np.repeat(middle[:, None], self.n, axis=1))[0].T
        return mcmc.Wells(*(jnp.asarray(v) for v in (maxima.barriers, edges, energy)))

    def _log_prob(self, x):
        gaps = jnp.diff(x, axis=-1)
        rows, columns = np.triu_indices(self.n, 1)
        distance = x[..., columns] - x[..., rows]
        lower, upper = self.line.lower, self.line.upper
        inside = jnp.all(gaps > 0, axis=-1) & (x[..., 0] > lower) & (x[..., -1] < upper)
        distance = jnp.where(inside[..., None], distance, 1.0)
        safe = jnp.where(inside[..., None], x, self._origin.astype(x.dtype))
        value = self.beta * jnp.sum(jnp.log(distance), axis=-1) - jnp.sum(self.energy(safe), axis=-1)
        return jnp.where(inside, value, -jnp.inf)

    def _force(self, x: np.ndarray) -> np.ndarray:
        """−U′ at x of shape (..., levels)."""
        if callable(self.g2):
            force = functools.partial(_ito_force, self.potential, self.g2)
        else:
            force = functools.partial(_constant_force, self.potential, self.g2)
        with np.errstate(all="ignore"):
            return on_host(force, x, self.n)

    def _check_confinement(self) -> None:
        """Raise InputError unless e^{−U}|x|^{β(N−1)} is integrable for every level, at both ends."""
        line = self.line
        power = self.beta * (self.n - 1) + 1
        message = (
            f"the {self.potential.name} potential is not confining: the gas has no stationary law"
            "; choose a potential that grows faster than the repulsion, or integrate without comparing"
        )
        diverging = []
        for end, inwards in ((line.lower, 1.0), (line.upper, -1.0)):
            if math.isfinite(end):
                # Near a wall e^{−U} ~ distance^a with a = distance · force.
                near = 1e-9 * (1 + abs(end))
                exponent = near * inwards * self._force(np.full(self.n, end + inwards * near))
                if not np.all(exponent > -1 + 1e-6):
                    raise InputError(f"{message} (the density diverges at the wall x = {end:g})")
                if np.any(exponent < -1e-4):
                    diverging.append(end)
                continue
            scale = 1.0 + max(
                (float(np.max(np.abs(p), initial=0.0)) for p in self.potential.params), default=0.0
            )
            x = -inwards * scale * np.geomspace(10, 1e6, 100)[:, None] * np.ones(self.n)
            pull = -x * self._force(x)
            # Far out a function may be too large for its own formula, log(exp(-x²)) say.
            known = pull[~np.isnan(pull).any(axis=1)][-40:]
            if not (known.size and np.all(known > power)):
                raise InputError(message)
        object.__setattr__(self, "_diverging", tuple(diverging))

    def _exact_sampler(self, may_fail: bool) -> Callable[[Any, int], np.ndarray] | None:
        name, params, n = self.potential.name, self.potential.params, self.n
        alike = all(np.ptp(p) == 0 for p in params)
        first = [float(np.ravel(p)[0]) for p in params]
        if (
            self.potential.drift_fn is quadratic().drift_fn
            and alike
            and not callable(self.g2)
            and np.ptp(self.g2) == 0
        ):
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
        if n <= LARGEST_LEVELS:
            try:
                table = self._table
            except InputError:
                if may_fail:
                    raise
                return None
            return lambda key, size: sample_table(table, self.log_prob, key, size)
        return None


@jax.jit  # the numbers of a potential are arguments: potentials of one kind are compiled once
def _constant_force(potential: Potential, g2, x):
    return jnp.broadcast_to(potential.drift(x) / g2, x.shape)


@functools.partial(jax.jit, static_argnums=1)
def _ito_force(potential: Potential, g2: Callable, x):
    value, change = jax.jvp(g2, (x,), (jnp.ones_like(x),))
    return jnp.broadcast_to((potential.drift(x) - change) / value, x.shape)


def _ito_energy(potential: Potential, g2: Callable, line: Line, x):
    """−∫ (K − (g²)′)/g² dx from a point of the domain."""

    def force(y):
        value, change = jax.jvp(g2, (y,), (jnp.ones_like(y),))
        return (potential.drift(y) - change) / value

    return -integral(force, line, float(line.x(np.float64(0.0))), x)


def _off_the_walls(line: Line, x: np.ndarray) -> np.ndarray:
    """x with levels that a wall stops moved a little into the domain, where log-gaps are finite."""
    x = x.copy()
    if math.isfinite(line.lower):
        room = (x[1] if x.size > 1 else x[0] + 1.0) - line.lower
        x[0] = max(x[0], line.lower + 0.05 * min(room, line.upper - line.lower))
    if math.isfinite(line.upper):
        room = line.upper - (x[-2] if x.size > 1 else x[-1] - 1.0)
        x[-1] = min(x[-1], line.upper - 0.05 * min(room, line.upper - line.lower))
    return x
