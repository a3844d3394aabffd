"""What theory knows about a system at one grid point, and the models of its first two rungs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

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
    """What theory knows about a system at one grid point, and the models of its first two rungs.

    Attributes
    ----------
    sgd, langevin : Model
        Models of rungs 1 and 2.
    potential : dyson.Potential
        Drift and domain of the levels.
    g2 : array or callable
        g_i², units of the level squared over time, or a function of the level.
    pairs : dyson.Pairwise or None
        Smooth forces between levels, of second order.
    targets : array, shape (levels,)
        Zeros of the drift, ascending, units of the level.
    omega : array, shape (levels,)
        Ω_i = −K_i′ at the target, 1/time.
    sigma : array, shape (levels,)
        Width of a single level, σ_i² = g_i²/Ω_i; units of the level.
    unit : float
        Time of one training step, in which K_i is free of α.
    scale : float
        A level starts as the scale times an eigenvalue of WᵀW, or the root of it.
    singular_values : bool
        Whether levels are singular values of W, not eigenvalues of X.
    limits : dict
        Domain of a measured drift.
    matrix : callable or None
        At order 2, (members, seed) -> levels of rung 5.
    """

    sgd: Model
    langevin: Model
    potential: dyson.Potential
    g2: Any
    pairs: dyson.Pairwise | None
    targets: np.ndarray
    omega: np.ndarray
    sigma: np.ndarray
    unit: float
    scale: float
    singular_values: bool
    limits: dict[str, Any]
    matrix: Callable[[int, int], np.ndarray] | None = None

    @property
    def several_species(self) -> bool:
        """Levels that share a target differ in their drift: either can be the lower one."""
        return bool(np.ptp(self.targets) == 0 and np.ptp(self.omega) > 1e-9)


def rbm_system(lr: float, batch_size: int, order: int = 1, **options: Any) -> System:
    """The RBM in the time τ = 2σ_h²αt: eigenvalues x of X = σ_h² WᵀW.

    Parameters
    ----------
    lr : float
        Learning rate α.
    batch_size : int
        Number of chains, |B|.
    order : {1, 2}, default 1
        2 has the repulsion g_i g_j instead of g_i² with g_i at the moving level, the Itô drift and the mixing
        of eigenvectors, see `dysonjax.dyson.second_order`.
    **options
        As for `models.rbm`, without `dynamics`. The default sampler is "collapsed".

    Returns
    -------
    System
        What theory knows, and the models of the first two rungs.

    Raises
    ------
    InputError
        As `models.rbm`; and at order 2 for `data`, since it knows the exact data term only.

    Notes
    -----
    K_i = (1/κ_i − 1/(μ² − x)) x, Ω_i = x_i/κ_i² and g_i² = 2σ_h²(α/|B|)(x_i/κ_i)² with the target x_i = μ² −
    κ_i. σ_i² = 2σ_h²(α/|B|) x_i is the leading order in α for independent chains. Mini-batches of `data` add
    their own variance to that of the chains. At order 1, levels of rung 3 come out some 3 % above SGD in the
    published setting.

    Examples
    --------
    >>> system = dj.compare.rbm_system(lr=0.1, batch_size=16, kappa=[8.0, 6.0, 4.0])
    >>> system.targets
    array([1., 3., 5.])
    >>> bool(np.allclose(system.sigma**2, 2 * 0.1 / 16 * system.targets))
    True
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
        return rbm_levels(kappa, sigma_h**2 * lr / batch_size, mu, n_samples=members, key=seed)[0]

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
    values: ArrayLike = (2.0, 2.0),
    epsilon: float = 0.1,
    z: str | ArrayLike = "identity",
    noise_of: str = "gradient",
) -> System:
    """The linear network in the time αt: singular values ξ of W.

    Parameters
    ----------
    lr : float
        Learning rate α, below 2/max z_i², where learning ends.
    batch_size : int
        Size of a mini-batch, |B|.
    order : {1, 2}, default 1
        2 adds the mixing of eigenvectors between different targets.
    values : sequence of float, default (2.0, 2.0)
        Singular values of the teacher.
    epsilon : float, default 0.1
        Noise of one sample, above 0: without noise there is no law to compare with.
    z : str or array, default "identity"
        Z, as for `models.linear`.
    noise_of : {"gradient", "label"}, default "gradient"
        To what the noise is added.

    Returns
    -------
    System
        What theory knows, and the models of the first two rungs.

    Raises
    ------
    InputError
        For a number out of range, a learning rate that is too large, or an unequal Z for more than two equal
        values or at order 2.

    Notes
    -----
    K_i = z_i² (ξ_t − ξ) and g_i² = z_i² σ_i² with σ_i² = 2αε²/(|B| z_i² (2 − αz_i²)): the limit α → 0 of g²
    is αε²/|B|, and 2/(2 − αz²) makes σ² that of the discrete learning map. Noise of the label reaches the
    gradient as Zᵀ times a matrix without symmetry, whose symmetric part splits the levels: σ_i² is z_i²/2 of
    the above. Unequal z_i make a gas of two species ([B]); in the network eigenvectors mix them.

    Examples
    --------
    >>> system = dj.compare.linear_system(lr=0.1, batch_size=16)
    >>> system.targets, system.sigma.round(5)
    (array([2., 2.]), array([0.00811, 0.00811]))
    """
    values = np.sort(checks.finite_array("values", values))
    epsilon = checks.positive("epsilon", epsilon)  # without noise there is no law to compare with
    if isinstance(z, str) and z == "identity":
        z = np.eye(len(values))
    options: dict[str, Any] = {"z": z, "values": values, "epsilon": epsilon, "noise": noise_of}
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
        dyson.linear_network(values, omega, variable="singular values"),
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


SYSTEMS: dict[str, Callable[..., System]] = {"rbm": rbm_system, "linear": linear_system}


def _data_noise(samples) -> np.ndarray:
    """Variance of a mini-batch's second moments along the target's axes over that of the chains, (levels,).

    1 for Gaussian data, (fourth moment over squared second moment − 1)/2 in general; in the order of the
    levels, that is, of ascending variance of the data.
    """
    samples = np.asarray(samples, np.float64)
    _, axes = np.linalg.eigh(samples.T @ samples / len(samples))
    squares = (samples @ axes) ** 2
    return squares.var(axis=0) / (2 * squares.mean(axis=0) ** 2)
