"""A network that learns a matrix of low rank out of noise: spikes that leave the bulk. arXiv 2606.28486.

ŷ = W x against y = W* x (+ ε n), W of shape (M, N), x ∈ R^N with ⟨x xᵀ⟩ = Λ (1 unless there are blocks),
W* = s Σ_k p_k u_k v_kᵀ with orthonormal u, v drawn for every seed. W starts from N(0, σ_W²/M), so that the
bulk of X = WᵀW is that of Marchenko and Pastur with σ² = σ_W² and r = N/M. L = ½⟨|y − ŷ|²⟩; the mean gradient
is (W − W*)Λ. With φ instead of the identity, ŷ = φ(Wx) and y = φ(W*x) + ε n.

Weights are stored as Wᵀ, (N, M): a batch meets them as inputs @ weight.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax import checks
from dysonjax.models.base import Hyperparameter, Model, Start, Update, eigh, normal, product, split

ACTIVATIONS = {"identity": lambda z: z, "tanh": jnp.tanh, "relu": jax.nn.relu}
NOISES = ("gradient", "label", "data")
MAX_LOSS = 100.0  # in units of the largest loss that a start can have
SAMPLES = 256  # on which loss and gradient of a nonlinear network are evaluated

OBSERVABLES = {
    "train_loss": "half the mean squared error over all inputs, exact for the linear network",
    "grad_norm": "Frobenius norm of the gradient of train_loss",
}


class World(NamedTuple):
    """What all members of a seed share."""

    teacher: jax.Array  # W*ᵀ at s = 1, (N, M)
    key: jax.Array  # of the inputs on which a nonlinear network is evaluated


class Batch(NamedTuple):
    """The randomness of one step."""

    inputs: jax.Array | None  # (|B|, N); None with gradient noise
    # At ε = 1: of the labels (|B|, M), or of the mean gradient (N, M); None with data noise.
    noise: jax.Array | None


def spiked_teacher(
    rows: int = 256,
    columns: int = 64,
    profile: Sequence[float] | np.ndarray = (1.0,),
    *,
    s: float = 1.0,
    epsilon: float = 0.1,
    noise: str = "gradient",
    activation: str = "identity",
    blocks: Sequence[float] | np.ndarray = (),
) -> Model:
    """Network that learns a matrix of low rank out of noise: spikes that leave the bulk.

    Parameters
    ----------
    rows, columns : int, default 256 and 64
        Outputs M and inputs N, in any order of size.
    profile : sequence of float, default (1.0,)
        Singular values of the teacher in units of its strength `s`, one for each spike, positive. Equal ones
        are degenerate, and overlaps then are those of their subspace.
    s : float, default 1.0
        Strength of the teacher, positive.
    epsilon : float, default 0.1
        Standard deviation ε of the noise of one sample, zero or positive.
    noise : {"gradient", "label", "data"}, default "gradient"
        "gradient" takes the exact mean gradient and adds a Gaussian matrix of std ε for every sample; "label"
        draws fresh inputs and adds ε times a normal vector to every label; "data" draws fresh inputs and has
        no other noise.
    activation : {"identity", "tanh", "relu"}, default "identity"
        Of the outputs. The latter two need inputs that are drawn, that is, noise "label" or "data".
    blocks : sequence of float, default ()
        Variances of the inputs, one for each of as many blocks of equal size. Without it all are 1.

    Returns
    -------
    Model
        Weights are stored as Wᵀ, (columns, rows), and start from N(0, sigma_w²/rows). Grids can vary the
        scalars `s` and `epsilon`.

    Raises
    ------
    InputError
        If the rank is above min(M, N), if singular values or s are not positive, or if another number is out
        of range.

    Notes
    -----
    ŷ = W x against y = W* x, with W* = s Σ_k p_k u_k v_kᵀ and orthonormal u, v drawn for every seed. The bulk
    of X = WᵀW starts as that of Marchenko and Pastur with σ² = sigma_w² and r = N/M. L = ½⟨|y − ŷ|²⟩.
    arXiv 2606.28486.

    Examples
    --------
    Three spikes, two of them degenerate, over a grid of strengths:

    >>> model = dj.models.spiked_teacher(rows=128, columns=32, profile=[2.0, 1.0, 1.0])
    >>> {name: scalar.default for name, scalar in model.scalars.items()}
    {'s': 1.0, 'epsilon': 0.1}
    >>> dj.Grid(lr=0.01, batch_size=16, scalars={"s": [0.5, 1.0, 2.0]}, seeds=20).members
    60
    >>> dj.models.spiked_teacher(rows=128, columns=2, profile=[2.0, 1.0, 1.0])
    Traceback (most recent call last):
    ...
    dysonjax.checks.InputError: the rank of the teacher must not exceed min(M, N) = 2, got 3
    """
    rows, columns = checks.positive_int("rows", rows), checks.positive_int("columns", columns)
    checks.memory(f"a network of {rows}×{columns} weights", 40 * rows * columns, "take fewer rows or columns")
    values = checks.not_vanishing("profile", checks.finite_array("profile", profile))
    if values.ndim != 1 or not len(values) or (values <= 0).any():
        raise checks.InputError(
            f"profile must be a list of positive singular values in units of s, got {values.tolist()}"
        )
    rank = len(values)
    if rank > min(rows, columns):
        raise checks.InputError(
            f"the rank of the teacher must not exceed min(M, N) = {min(rows, columns)}, got {rank}"
        )
    s = checks.not_vanishing("s", checks.positive("s", s))
    epsilon = checks.not_vanishing("epsilon", _not_negative("epsilon", epsilon))
    checks.one_of("noise", noise, list(NOISES))
    phi = ACTIVATIONS[checks.one_of("activation", activation, list(ACTIVATIONS))]
    if noise == "gradient" and activation != "identity":
        raise checks.InputError(
            f"gradient noise is added to the exact mean gradient, which a {activation} network does not "
            "have; take noise label or data"
        )
    variances = _variances(blocks, columns)
    linear, white = activation == "identity", bool(np.ptp(variances) == 0 and variances[0] == 1)
    start_loss = float(variances.max())

    def strength(point):
        return point.get("s", s)

    def world(key, batch_size):
        key_left, key_right, key_samples = split(key, 3)
        u = _orthonormal(normal(key_left, (rows, rank)))
        v = _orthonormal(normal(key_right, (columns, rank)))
        return World((v * jnp.asarray(values, v.dtype)) @ u.T, key_samples)

    def init(key, world, point):
        return Start({"w": point["sigma_w"] / jnp.sqrt(rows) * normal(key, (columns, rows))})

    def scaled(inputs):
        return inputs if white else inputs * jnp.asarray(np.sqrt(variances), inputs.dtype)

    def batch(key, world, step, batch_size):
        key_x, key_noise = split(key)
        if noise == "gradient":
            # The mean of |B| independent matrices is one matrix with a |B|-th of the variance.
            return Batch(None, normal(key_noise, (columns, rows)) / jnp.sqrt(batch_size))
        inputs = scaled(normal(key_x, (batch_size, columns)))
        return Batch(inputs, normal(key_noise, (batch_size, rows)) if noise == "label" else None)

    def weighted(difference):
        """Λ times a difference of weights."""
        return difference if white else jnp.asarray(variances, difference.dtype)[:, None] * difference

    def exact_loss(difference):
        return 0.5 * jnp.sum(difference * weighted(difference))

    def sampled_loss(weight, teacher, inputs, labels):
        errors = phi(product(inputs, weight)) - phi(inputs @ teacher) - labels
        return 0.5 * jnp.mean(jnp.sum(errors * errors, axis=-1))

    def update(params, memory, batch, world, point):
        weight, teacher = params["w"], strength(point) * world.teacher
        scale = point.get("epsilon", epsilon)
        difference = weight - teacher
        limit = (
            MAX_LOSS
            * start_loss
            * (1 + strength(point) ** 2 * float(np.sum(values**2)) + columns * point["sigma_w"] ** 2)
        )
        if noise == "gradient":
            loss, gradient = exact_loss(difference), weighted(difference) + scale * batch.noise
        elif linear:
            errors = product(batch.inputs, difference)
            errors = errors - scale * batch.noise if noise == "label" else errors
            loss = exact_loss(difference)
            gradient = batch.inputs.T @ errors / len(batch.inputs)
        else:
            labels = scale * batch.noise if noise == "label" else jnp.zeros(())
            loss, gradient = jax.value_and_grad(sampled_loss)(weight, teacher, batch.inputs, labels)
        return Update({"w": gradient}, memory, loss, loss <= limit)

    def observe(params, initial, world, key, point):
        weight, teacher = params["w"], strength(point) * world.teacher
        if linear:
            loss, gradient = exact_loss(weight - teacher), weighted(weight - teacher)
        else:
            inputs = scaled(normal(world.key, (SAMPLES, columns)))
            loss, gradient = jax.value_and_grad(sampled_loss)(weight, teacher, inputs, jnp.zeros(()))
        return {"train_loss": loss, "grad_norm": jnp.sqrt(jnp.sum(gradient**2))}

    return Model(
        name="spiked-teacher",
        world=world,
        init=init,
        batch=batch,
        update=update,
        matrices=lambda params: {"w": params["w"].T},
        observe=observe,
        observables=OBSERVABLES,
        targets=lambda world: {"w": s * world.teacher.T},
        target_scale="s",
        scalars={
            "s": Hyperparameter(s, "strength s of the teacher, units of the weights", checks.positive),
            "epsilon": Hyperparameter(
                epsilon, "standard deviation ε of the noise of one sample", _not_negative
            ),
        },
        config={
            "rows": rows,
            "columns": columns,
            "profile": values.tolist(),
            "s": s,
            "epsilon": epsilon,
            "noise": noise,
            "activation": activation,
            "blocks": [float(v) for v in np.atleast_1d(blocks)] if len(blocks) else [],
        },
    )


def _not_negative(name: str, value) -> float:
    if checks.finite(name, value) < 0:
        raise checks.InputError(f"{name} must be zero or positive, got {value}")
    return float(value)


def _variances(blocks, columns: int) -> np.ndarray:
    """Variance of each input."""
    if not len(blocks):
        return np.ones(columns)
    found = checks.not_vanishing("blocks", checks.finite_array("blocks", blocks))
    if (found <= 0).any():
        raise checks.InputError(f"blocks must be positive variances of the inputs, got {found.tolist()}")
    if columns % len(found):
        raise checks.InputError(f"{columns} columns cannot be cut into {len(found)} blocks of equal size")
    return np.repeat(found, columns // len(found))


def _orthonormal(a: jax.Array) -> jax.Array:
    """The nearest matrix with orthonormal columns, twice: a square one loses half of the digits at first."""
    for _ in range(2):
        values, vectors = eigh(a.T @ a)
        a = a @ (vectors / jnp.sqrt(values)) @ vectors.T
    return a
