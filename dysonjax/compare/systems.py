"""What theory knows about a system at one grid point, and the models of its first two rungs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dysonjax import checks, dyson, models
from dysonjax.models.base import Model
from dysonjax.models.predictions import linear_pair, rbm_pair
from dysonjax.models.rbm_fluctuations import rbm_levels

OPTIONS = {
    "rbm": ("visible", "mu", "sigma_h", "k", "mass", "kappa", "covariance", "data", "sampler"),
    "linear": ("values", "epsilon", "z", "noise_of"),
}
# Published settings: [A] 3.1 and [B]; σ_W = 0.1 √n, so that single weights start with a width of 0.1.
STEPS = {"rbm": 8000, "linear": 5000}
START_WIDTH = 0.1


class System(NamedTuple):
    """A system at one grid point. Arrays have shape (levels,), targets ascending."""

    sgd: Model
    langevin: Model
    potential: dyson.Potential
    g2: Any  # g_i², units of the level squared over time: an array, or a function of the level
    pairs: dyson.Pairwise | None  # smooth forces between levels, of second order
    targets: np.ndarray  # zeros of the drift, units of the level
    omega: np.ndarray  # Ω_i = −K_i′ at the target, 1/time
    sigma: np.ndarray  # width of a single level, σ_i² = g_i²/Ω_i; units of the level
    unit: float  # time of one training step, in which K_i is free of α
    scale: float  # a level starts as the scale times an eigenvalue of WᵀW, or the root of it
    singular_values: bool  # levels are singular values of W, not eigenvalues of X
    limits: dict[str, Any]  # domain of a measured drift
    matrix: Callable[[int, int], np.ndarray] | None = None  # order 2: members, seed -> levels of rung 5

    @property
    def several_species(self) -> bool:
        """Levels that share a target differ in their drift: either can be the lower one."""
        return bool(np.ptp(self.targets) == 0 and np.ptp(self.omega) > 1e-9)


def rbm_system(lr: float, batch_size: int, order: int = 1, **options) -> System:
    """The RBM in τ = 2σ_h²αt: K_i = (1/κ_i − 1/(μ² − x)) x, Ω_i = x_i/κ_i², g_i² = 2σ_h²(α/|B|)(x_i/κ_i)².

    The target x_i = μ² − κ_i; σ_i² = 2σ_h²(α/|B|) x_i is the leading order in α for independent chains.
    Mini-batches of `data` add their own variance to that of the chains.

    order=1 leaves out, and levels of rung 3 therefore come out some 3 % above SGD in the published setting:
    the repulsion g_i g_j instead of g_i², g_i at the moving level; the Itô drift; the mixing of eigenvectors.
    order=2 has them, see `dysonjax.dyson.second_order`.
    """
    options = {"sampler": "collapsed", **options}
    model = models.rbm(**options)
    mu, sigma_h = model.config["mu"], model.config["sigma_h"]
    kappa = np.array(model.config["kappa"])[::-1]
    targets = mu**2 - kappa
    omega = targets / kappa**2
    sigma = rbm_pair(kappa, lr, batch_size, mu, sigma_h).sigma
    potential, g2, pairs = dyson.rbm(mu**2, kappa), omega * sigma**2, None
    if options.get("data") is not None:
        if order == 2:
            raise checks.InputError(
                "order 2 knows the exact data term only; give the data's covariance instead"
            )
        sigma = sigma * np.sqrt(1 + _data_noise(options["data"]))
        g2 = omega * sigma**2
    if order == 2:
        potential, g2, pairs = dyson.rbm_second_order(kappa, mu**2, lr, batch_size, sigma_h)

    def matrix(members, seed):
        return rbm_levels(kappa, sigma_h**2 * lr / batch_size, mu, draws=members, seed=seed)[0]

    return System(
        sgd=model,
        langevin=models.rbm(**options, dynamics="langevin"),
        potential=potential,
        g2=g2,
        pairs=pairs,
        targets=targets,
        omega=omega,
        sigma=sigma,
        unit=2 * sigma_h**2 * lr,
        scale=sigma_h**2,
        singular_values=False,
        limits={"lower": 0.0, "upper": mu**2, "reflecting": (True, True)},
        matrix=matrix if order == 2 else None,
    )


def linear_system(
    lr: float,
    batch_size: int,
    order: int = 1,
    values=(2.0, 2.0),
    epsilon: float = 0.1,
    z="identity",
    noise_of: str = "gradient",
) -> System:
    """The linear network in time αt: K_i = z_i² (ξ_t − ξ), g_i² = z_i² σ_i².

    σ_i² = 2αε²/(|B| z_i² (2 − αz_i²)): the limit α → 0 of g² is αε²/|B|, and 2/(2 − αz²) makes σ² that of the
    discrete learning map. Noise of the
    label reaches the gradient as Zᵀ times a matrix without symmetry, whose symmetric part splits the levels:
    σ_i² is z_i²/2 of the above. Unequal z_i make a gas of two species ([B]); in the network eigenvectors mix
    them. order=2 adds the mixing of eigenvectors between different targets.
    """
    values = np.sort(checks.finite_array("values", values))
    epsilon = checks.positive("epsilon", epsilon)  # without noise there is no law to compare with
    if isinstance(z, str) and z == "identity":
        z = np.eye(len(values))
    options = {"z": z, "values": values, "epsilon": epsilon, "noise": noise_of}
    model = models.linear(**options)
    singular = np.linalg.svd(np.array(model.config["z"]), compute_uv=False)
    equal = np.ptp(singular) < 1e-9 * singular[0]
    if not equal and (len(values) != 2 or np.ptp(values) > 0 or order == 2):
        raise checks.InputError(
            "theory knows an unequal Z for two equal values and order 1 only; give Z equal singular values"
        )
    singular = np.full(len(values), singular[0]) if equal else np.sort(singular)
    if not lr * singular.max() ** 2 < 2:
        raise checks.InputError(
            f"lr must be below {2 / singular.max() ** 2:g}, where learning of the linear network ends, "
            f"got {lr:g}"
        )
    reaching = epsilon if noise_of == "gradient" else epsilon * singular / np.sqrt(2)
    sigma = np.broadcast_to(linear_pair(reaching, lr, batch_size, singular).sigma, values.shape)
    omega = singular**2
    potential, g2, pairs = (
        dyson.linear_network(values, omega, levels="singular values"),
        omega * sigma**2,
        None,
    )
    if order == 2 and np.ptp(values) > 0:
        potential, g2, pairs = dyson.linear_second_order(values, sigma[0] ** 2, omega[0])

    def matrix(members, seed):
        half = 0.5 * sigma[0] * np.random.default_rng(seed).normal(size=(members, len(values), len(values)))
        return np.linalg.eigvalsh(np.diag(values) + half + half.swapaxes(1, 2))

    return System(
        sgd=model,
        langevin=models.linear(**options, dynamics="langevin"),
        potential=potential,
        g2=g2,
        pairs=pairs,
        targets=values,
        omega=omega,
        sigma=sigma,
        unit=lr,
        scale=1.0,
        singular_values=True,
        limits={},
        matrix=matrix if pairs is not None else None,
    )


SYSTEMS = {"rbm": rbm_system, "linear": linear_system}


def _data_noise(samples) -> np.ndarray:
    """Variance of a mini-batch's second moments along the target's axes over that of the chains, (levels,).

    1 for Gaussian data, (fourth moment over squared second moment − 1)/2 in general; in the order of the
    levels, that is, of ascending variance of the data.
    """
    samples = np.asarray(samples, np.float64)
    _, axes = np.linalg.eigh(samples.T @ samples / len(samples))
    squares = (samples @ axes) ** 2
    return squares.var(axis=0) / (2 * squares.mean(axis=0) ** 2)
