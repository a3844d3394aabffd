"""The ladder from SGD to closed forms: what each approximation costs. [A] 2.1-2.5, 3.1; [B]; [C].

Five ensembles of levels, each with one approximation more than the one before:
1. SGD, with its own noise (the RBM's persistent chains, the linear network's mini-batches);
2. matrix Langevin: exact mean gradient, Gaussian noise of the same covariance;
3. Dyson Brownian motion of the levels alone, dx_i = (K_i + Σ_j g_i²/(x_i − x_j)) dt + √2 g_i dB_i;
4. the Coulomb gas, the stationary law of 3;
5. closed forms: every degenerate block alone, Gaussian about its target, blocks independent of each other.

Levels are eigenvalues of X = σ_h² WᵀW for the RBM and singular values of W for the linear network. All
ensembles are drawn independently, with common laws for the start, so that differences have honest errors.
"""

import dataclasses
import itertools
import time as clock
import warnings
from typing import Any, NamedTuple

import jax
import numpy as np

from dysonjax import checks, dyson, models
from dysonjax.ensemble import Grid, train
from dysonjax.models.base import Model
from dysonjax.models.predictions import linear_pair, rbm_pair
from dysonjax.spectra import permutation_test, sample_beta_hermite, sample_wishart, wasserstein

SGD, LANGEVIN, DYSON, GAS, CLOSED = RUNGS = (
    "SGD",
    "matrix Langevin",
    "Dyson Brownian motion",
    "Coulomb gas",
    "closed forms",
)
OPTIONS = {
    "rbm": ("visible", "mu", "sigma_h", "k", "mass", "kappa", "covariance", "sampler"),
    "linear": ("values", "epsilon"),
}
# Published settings: [A] 3.1 and [B]; σ_W = 0.1 √n, so that single weights start with a width of 0.1.
STEPS = {"rbm": 8000, "linear": 5000}
START_WIDTH = 0.1
WINDOW = 100  # intervals from which drift and noise are measured
MEASURED_STEP = 0.05  # interval of that, relative to the fastest relaxation time
THINNING = 25  # draws of the Coulomb gas for each one that is kept; odd, so that all chains take turns
RESOLUTION = 0.02  # step of the integrator, relative to the fastest relaxation time


class System(NamedTuple):
    """What theory knows about a system at one grid point. Arrays have shape (levels,), targets ascending."""

    sgd: Model
    langevin: Model
    potential: dyson.Potential
    targets: np.ndarray  # zeros of the drift, units of the level
    omega: np.ndarray  # Ω_i = −K_i′ at the target, 1/time
    sigma: np.ndarray  # width of a single level, σ_i² = g_i²/Ω_i; units of the level
    unit: float  # time of one training step, in which K_i is free of α
    scale: float  # a level starts as the scale times an eigenvalue of WᵀW, or the root of it
    singular_values: bool  # levels are singular values of W, not eigenvalues of X
    limits: dict[str, Any]  # domain of a measured drift

    @property
    def g2(self) -> np.ndarray:
        """g_i² = Ω_i σ_i², units of the level squared over time."""
        return self.omega * self.sigma**2


class Step(NamedTuple):
    """What one more approximation changes: `second` against `first`."""

    first: str
    second: str
    z_levels: np.ndarray  # difference of the mean levels over its standard error, (levels,)
    z_spacings: np.ndarray  # the same for spacings, (levels − 1,)
    level_shift: tuple[float, float]  # mean over levels of the relative change of their mean; its error
    spacing_shift: tuple[float, float]  # the same for spacings
    wasserstein_levels: np.ndarray  # distance of each level's laws over that level's width, (levels,)
    wasserstein: float  # its mean over levels: the effect size
    chance: float  # the effect size expected between two ensembles of one law and these sizes
    p_value: float  # that relabelling whole members gives a larger effect size


@dataclasses.dataclass(frozen=True)
class Ladder:
    """The five rungs at one grid point.

    levels: rung -> float64 (members, levels), ascending; a rung that does not exist is missing.
    steps: one `Step` for each pair of neighbouring rungs. verdict: one paragraph. notes: what was left out
    and why. sigma: width of a single level in theory; g2: noise strengths of
    rung 3; both (levels,). diverged: rung -> members left out.
    """

    system: str
    levels: dict[str, np.ndarray]
    targets: np.ndarray
    sigma: np.ndarray
    g2: np.ndarray
    steps: tuple[Step, ...]
    verdict: str
    notes: tuple[str, ...]
    diverged: dict[str, int]
    training_steps: int
    seconds: float


def ladder(
    system: str, *, lr: float = 0.1, batch_size: int = 16, sigma_w: float | None = None, members: int = 500,
    steps: int | None = None, noise: str = "theory", seed: int = 0, permutations: int = 999, **options,
) -> Ladder:  # fmt: skip
    """All rungs of "rbm" or "linear" at one grid point.

    sigma_w: initial weights are N(0, sigma_w²/n); None: 0.1 √n, as published. members: of every rung, at
    least 2 (40 with measured noise). steps: training steps; None: 8000 (rbm), 5000 (linear). The Dyson
    motion runs for the same time. noise: "theory" takes K_i and g_i² from the model; "measured" estimates
    both from the end of the SGD run and starts rung 3 there, since K_i is not known elsewhere; rung 5 stays
    that of theory. options: visible, mu, sigma_h, k, mass, kappa, covariance, sampler for the RBM (default
    sampler "collapsed", the same law as "gibbs"); values, epsilon for the linear network, which has Z = 1
    here. Raises InputError.
    """
    law, grid, records = check(
        system, lr, batch_size, sigma_w, members, steps, noise, seed, permutations, options
    )
    steps, size = records[-1], len(law.targets)
    begin = clock.perf_counter()
    keys = jax.random.split(jax.random.key(seed), 4)
    levels, diverged, notes = {}, {}, []

    # Different roots: with one, both runs would share teacher, start and part of the noise.
    recorded, diverged[SGD] = _trained(law, law.sgd, grid, records, 2 * seed)
    levels[SGD] = recorded[:, -1]
    recorded_langevin, diverged[LANGEVIN] = _trained(law, law.langevin, grid, (steps,), 2 * seed + 1)
    levels[LANGEVIN] = recorded_langevin[:, -1]

    potential, g2 = law.potential, law.g2
    start = start_levels(law, grid.sigma_w[0], members, keys[0])
    if noise == "measured":
        measured = dyson.measure(recorded, law.unit * np.array(records))
        potential, g2, start = measured.potential(**law.limits), measured.g2, recorded[:, 0]
        notes.append("drift and noise of the Dyson motion are measured, the closed forms those of theory")
        if (g2 <= 0).any():
            raise checks.InputError("the measured noise g2 is not positive; use more members")
    levels[DYSON] = dyson_levels(law, potential, g2, start, steps, keys[1])
    try:
        levels[GAS], warned = gas_levels(dyson.CoulombGas(potential, g2, 1.0, size), members, keys[2])
        notes += warned
    except checks.InputError as error:
        notes.append(f"no Coulomb gas: {error}")
    levels[CLOSED] = closed_forms(law.targets, law.sigma, members, keys[3])
    lost = sum(diverged.values())
    if lost:
        notes.append(f"{lost} members diverged and are left out")

    present = [name for name in RUNGS if name in levels]
    found = tuple(
        compare(a, b, levels[a], levels[b], permutations, seed) for a, b in itertools.pairwise(present)
    )
    return Ladder(
        system, levels, law.targets, law.sigma, np.asarray(g2), found, verdict(found), tuple(notes), diverged,
        steps, clock.perf_counter() - begin,
    )  # fmt: skip


def check(
    system: str, lr, batch_size, sigma_w, members, steps, noise: str, seed, permutations, options: dict
) -> tuple[System, Grid, tuple[int, ...]]:
    """The arguments of `ladder` as a system, its grid and the steps that the SGD run records.

    Raises InputError without having run anything.
    """
    checks.one_of("system", system, list(OPTIONS))
    for name in options:
        checks.one_of(f"an option of {system}", name, OPTIONS[system])
    checks.one_of("noise", noise, ["theory", "measured"])
    members = checks.positive_int("members", members, 2 if noise == "theory" else 40)
    lr, batch_size = checks.positive("lr", lr), checks.positive_int("batch_size", batch_size)
    law = SYSTEMS[system](lr, batch_size, **options)
    sigma_w = START_WIDTH * np.sqrt(len(law.targets)) if sigma_w is None else sigma_w
    steps = checks.positive_int("steps", STEPS[system] if steps is None else steps)
    checks.positive_int("seed", seed, 0)
    checks.positive_int("permutations", permutations)
    records = _window(law, steps) if noise == "measured" else (steps,)
    return law, Grid(lr=lr, batch_size=batch_size, sigma_w=sigma_w, seeds=members), records


def rbm_system(lr: float, batch_size: int, **options) -> System:
    """The RBM in τ = 2σ_h²αt: K_i = (1/κ_i − 1/(μ² − x)) x, Ω_i = x_i/κ_i², g_i² = 2σ_h²(α/|B|)(x_i/κ_i)².

    The target x_i = μ² − κ_i; σ_i² = 2σ_h²(α/|B|) x_i is the leading order in α for independent chains.

    Left out, and together why levels of rung 3 come out some 3 % above SGD in the published setting: with
    g_i = √(2σ_h²α/|B|) x_i/(μ² − x_i) at the moving level, i and j repel by g_i g_j, not g_i² (lowers them);
    the second-order (Itô) drift (σ_h²α/2|B|) x_i/λ_i (Σ_j 1/λ_j + 1/λ_i), λ = μ² − x; and the eigenvectors
    u_i, which mix, so that 1/κ_i becomes u_iᵀ C u_i: 1 % more for low levels, 4 % less for the highest.
    """
    options = {"sampler": "collapsed", **options}
    model = models.rbm(**options)
    mu, sigma_h = model.config["mu"], model.config["sigma_h"]
    kappa = np.array(model.config["kappa"])[::-1]
    targets = mu**2 - kappa
    return System(
        sgd=model,
        langevin=models.rbm(**options, dynamics="langevin"),
        potential=dyson.rbm(mu**2, kappa),
        targets=targets,
        omega=targets / kappa**2,
        sigma=rbm_pair(kappa, lr, batch_size, mu, sigma_h).sigma,
        unit=2 * sigma_h**2 * lr,
        scale=sigma_h**2,
        singular_values=False,
        limits={"lower": 0.0, "upper": mu**2, "reflecting": (True, True)},
    )


def linear_system(lr: float, batch_size: int, values=(2.0, 2.0), epsilon: float = 0.1) -> System:
    """The linear network with Z = 1 in time αt: K = ξ_t − ξ, g² = σ² = 2αε²/(|B|(2 − α)).

    α → 0 gives g² = αε²/|B|; the factor 2/(2 − α) makes σ² that of the discrete learning map.
    """
    values = np.sort(checks.finite_array("values", values))
    epsilon = checks.positive("epsilon", epsilon)  # without noise there is no law to compare with
    if not lr < 2:
        raise checks.InputError(f"lr must be below 2, where learning of the linear network ends, got {lr:g}")
    z = np.eye(len(values))
    return System(
        sgd=models.linear(z, values=values, epsilon=epsilon),
        langevin=models.linear(z, values=values, epsilon=epsilon, dynamics="langevin"),
        potential=dyson.linear_network(values, 1.0, levels="singular values"),
        targets=values,
        omega=np.ones(len(values)),
        sigma=np.full(len(values), linear_pair(epsilon, lr, batch_size).sigma),
        unit=lr,
        scale=1.0,
        singular_values=True,
        limits={},
    )


SYSTEMS = {"rbm": rbm_system, "linear": linear_system}


def start_levels(system: System, sigma_w: float, members: int, key) -> np.ndarray:
    """Spectra of random square weights N(0, sigma_w²/n), the law with which training starts."""
    size = len(system.targets)
    eigenvalues = system.scale * sample_wishart(key, size, size, sigma_w / np.sqrt(size), (members,))
    if system.singular_values:
        return np.sqrt(eigenvalues)
    return np.minimum(eigenvalues, 0.99 * float(np.max(system.potential.upper)))


def dyson_levels(system: System, potential, g2, start: np.ndarray, steps: int, key) -> np.ndarray:
    """Levels after the time of `steps` training steps from `start`, both (members, levels)."""
    duration = system.unit * steps
    count = max(100, int(np.ceil(duration * system.omega.max() / RESOLUTION)))
    return dyson.integrate(potential, g2, start, duration, count, key=key, records=2).levels[:, -1]


def gas_levels(gas: dyson.CoulombGas, members: int, key) -> tuple[np.ndarray, list[str]]:
    """Draws of the stationary law, (members, levels), and what the sampler warned of.

    Successive draws of its Markov chains are correlated; only every 25th is kept, so that members count as
    independent in the errors.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        drawn = gas.sample(key, THINNING * members)[::THINNING]
    return drawn, [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)]


def closed_forms(targets: np.ndarray, sigma: np.ndarray, members: int, key) -> np.ndarray:
    """Every degenerate block of m levels drawn from its own law, (members, levels), ascending.

    The law is ∝ Π|x_i − x_j| exp(−Σ(x_i − x_t)²/2σ²): Gaussian for a single level, and for a pair the
    surmise of its spacing with the two-mode density. Blocks ignore each other, and may then overlap.
    """
    same = np.diff(targets) <= 1e-5 * np.abs(targets).max()
    blocks = np.split(np.arange(len(targets)), np.flatnonzero(~same) + 1)
    keys = jax.random.split(key, len(blocks))
    drawn = [
        targets[block].mean()
        + sample_beta_hermite(k, len(block), 1.0, sigma[block].mean() / np.sqrt(2), (members,))
        for block, k in zip(blocks, keys, strict=True)
    ]
    return np.sort(np.concatenate(drawn, axis=1), axis=1)


def mean_and_sem(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over members with its standard error, for x of shape (members, n)."""
    return x.mean(axis=0), x.std(axis=0, ddof=1) / np.sqrt(len(x))


def compare(first: str, second: str, x: np.ndarray, y: np.ndarray, n: int = 999, seed: int = 0) -> Step:
    """How two named ensembles of levels, shapes (members_x, levels) and (members_y, levels), differ."""
    z, shift = zip(*(_difference(a, b) for a, b in ((x, y), (np.diff(x), np.diff(y)))), strict=True)
    effects = wasserstein(x, y, per_level=True)
    # Levels in units of their width and far apart: pooled, their distance is the sum over the levels.
    both = np.concatenate([x, y])
    both = (both - both.mean(axis=0)) / both.std(axis=0)
    both += 2 * np.abs(both).max() * np.arange(both.shape[1])
    test = permutation_test(both[: len(x)], both[len(x) :], n=n, seed=seed)
    chance = np.mean([_chance(a, b) for a, b in zip(x.T, y.T, strict=True)])
    return Step(first, second, *z, *shift, effects, float(effects.mean()), float(chance), test.p_value)


def verdict(steps: tuple[Step, ...]) -> str:
    """One paragraph: the effect sizes, what they do to levels and spacings, and what chance explains."""
    excess = [max(step.wasserstein - step.chance, 0.0) for step in steps]
    seen = [step.p_value < 0.05 for step in steps]
    details = []
    for step, real in zip(steps, seen, strict=True):
        shifts = [
            f"{100 * value:+.1f} ± {100 * e:.1f} %" for value, e in (step.level_shift, step.spacing_shift)
        ]
        details.append(
            f"from {step.first} to {step.second} levels move by {step.wasserstein:.2f} of their width "
            f"(by chance {step.chance:.2f}; p = {step.p_value:.3f}), that is, their means by {shifts[0]} and "
            f"mean spacings by {shifts[1]}" + ("" if real else ", which is no more than chance")
        )
    if any(seen):
        worst = steps[int(np.argmax(np.where(seen, excess, -1.0)))]
        lead = f"The costliest approximation is the step from {worst.first} to {worst.second}"
        free = sum(not real for real in seen)
        cost = "costs" if free == 1 else "cost"
        lead += f"; {free} of the {len(steps)} steps {cost} nothing that is resolved here." if free else "."
    else:
        lead = "No approximation costs anything that is resolved here."
    return f"{lead} In detail: {'; '.join(details)}."


def summarise(ladder: Ladder) -> dict[str, Any]:
    """The ladder as JSON values: by rung the means, and a list over steps for each number of `Step`."""
    means = {name: mean_and_sem(x) for name, x in ladder.levels.items()}
    gaps = {name: mean_and_sem(np.diff(x)) for name, x in ladder.levels.items()}
    rungs = {
        "levels_mean": {name: mean for name, (mean, _) in means.items()},
        "levels_sem": {name: sem for name, (_, sem) in means.items()},
        "spacing_mean": {name: mean for name, (mean, _) in gaps.items()},
        "spacing_sem": {name: sem for name, (_, sem) in gaps.items()},
    }
    return {
        "system": ladder.system,
        "rungs": list(ladder.levels),
        "targets": ladder.targets.tolist(),
        "g2": np.broadcast_to(ladder.g2, ladder.targets.shape).tolist(),
        **{key: {name: x.tolist() for name, x in values.items()} for key, values in rungs.items()},
        **{
            name: [np.asarray(getattr(step, name)).tolist() for step in ladder.steps] for name in Step._fields
        },
        "z": [{"levels": s.z_levels.tolist(), "spacings": s.z_spacings.tolist()} for s in ladder.steps],
        "diverged": ladder.diverged,
        "notes": list(ladder.notes),
        "verdict": ladder.verdict,
    }


def _difference(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """z-scores of the means of y against x, and the mean relative change with its standard error."""
    (a, a_sem), (b, b_sem) = mean_and_sem(x), mean_and_sem(y)
    if a.size == 0:  # spacings of a single level
        return a, (0.0, 0.0)
    # A member's levels are correlated: the average over levels comes first, the error over members second.
    (before, error), (after, other) = (mean_and_sem((v / a).mean(axis=1)) for v in (x, y))
    return (b - a) / np.hypot(a_sem, b_sem), (float(after - before), float(np.hypot(error, other)))


def _chance(x: np.ndarray, y: np.ndarray) -> float:
    """Mean relative Wasserstein distance of two samples of these sizes from one law, that of x and y pooled.

    The difference of two empirical cdfs is a Brownian bridge: E|F_x − F_y| = √(2/π) √(F(1 − F)(1/n + 1/m)).
    """
    both = np.sort(np.concatenate([x, y]))
    cdf = np.arange(1, len(both)) / len(both)
    width = np.sqrt((len(x) * x.var() + len(y) * y.var()) / len(both))
    integral = np.sum(np.sqrt(cdf * (1 - cdf)) * np.diff(both))
    return float(np.sqrt(2 / np.pi * (1 / len(x) + 1 / len(y))) * integral / width)


def _window(system: System, steps: int) -> tuple[int, ...]:
    """Record steps at the end of training, close enough together to measure drift and noise."""
    interval = max(1, round(MEASURED_STEP / (system.unit * system.omega.max())))
    count = min(WINDOW, steps // (2 * interval))
    if count < 10:
        raise checks.InputError(f"measuring drift and noise needs more steps, got {steps}")
    return tuple(steps - interval * k for k in range(count, -1, -1))


def _trained(system: System, model: Model, grid: Grid, records, seed: int) -> tuple[np.ndarray, int]:
    """Levels (members, records, levels) of members that stayed healthy, and how many did not."""
    dataset = train(model, grid, records[-1], records, seed=seed).dataset
    point = dataset.isel(batch_size=0, lr=0, sigma_w=0).transpose("seed", "record", ...)
    levels = point["eigenvalues"].values.astype(np.float64)
    kept = point["alive"].values[:, -1] & np.isfinite(levels).all(axis=(1, 2))
    if kept.sum() < 2:
        raise checks.InputError(f"{model.name} diverged in all but {kept.sum()} members; lower lr")
    levels = np.maximum(levels[kept], 0.0)
    return (np.sqrt(levels) if system.singular_values else levels), int((~kept).sum())
