"""Linear network with one hidden layer: ŷ = Z W x, with Z fixed and shared, against ŷ = Z W_t x. [B].

L = ⟨|Z W_t x − Z W x|²⟩/2 with x ~ N(0, 1)^n; the gradient of one sample is −ZᵀZ (W_t − W) x xᵀ. Without
more noise learning would become exact; [B] therefore adds Gaussian noise of strength ε to every sample, in
the gradient or in the label. Z = 1 is the plain teacher-student model. A mode of ZᵀZ with eigenvalue z²
relaxes at the rate α z² a step and fluctuates, with gradient noise, with variance ∝ 1/z²: a gas of several
species.

The weights are stored as W itself, (n, n), acting on column vectors x.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dysonjax import checks
from dysonjax.models.base import Hyperparameter, Model, Start, Update, normal, split

# [B] does not print its two Z; these are ours: equal and clearly unequal singular values.
Z_PRESETS = {
    "identity": np.eye(2),
    "equal": np.array([[0.6, -0.8], [0.8, 0.6]]),
    "unequal": np.array([[1.0, 0.0], [0.0, 0.5]]),
}
MAX_LOSS = 100.0  # a member whose exact loss is above it is no longer updated

OBSERVABLES = {
    "train_loss": "half the mean squared error over all inputs, exact",
    "grad_norm": "Frobenius norm of the gradient of train_loss",
}


class World(NamedTuple):
    """What all members of a seed share."""

    teacher: jax.Array  # W_t, (n, n)


class Noise(NamedTuple):
    """The randomness of one step."""

    moments: jax.Array  # (1/|B|) Σ x xᵀ, or 1 plus its Gaussian fluctuation, (n, n)
    added: jax.Array  # noise of the mean gradient at epsilon = 1, (n, n), or label noise times x, (n_out, n)


def linear(
    z: str | ArrayLike = "identity",
    teacher: ArrayLike | None = None,
    *,
    values: ArrayLike = (2.0, 2.0),
    basis: str = "symmetric",
    epsilon: float = 0.1,
    noise: str = "gradient",
    dynamics: str = "sgd",
) -> Model:
    """Linear network with one hidden layer, of which the second matrix Z is fixed: ŷ = Z W x.

    Parameters
    ----------
    z : {"identity", "equal", "unequal"} or array, shape (n_out, n), default "identity"
        The matrix Z, of full column rank. "equal" and "unequal" are 2 × 2 with equal singular values 1, 1 and
        with 1, ½.
    teacher : array, shape (n, n), optional
        W_t, the same for all seeds. By default every seed draws one from `values` and `basis`.
    values : sequence of float, length n, default (2.0, 2.0)
        Singular values of a drawn teacher, positive. Equal ones make degenerate levels.
    basis : {"symmetric", "rotation", "orthogonal"}, default "symmetric"
        "symmetric" draws W_t = Q diag(values) Qᵀ, which for all values equal is a multiple of 1; "rotation"
        draws W_t = R diag(values) with det R = 1; "orthogonal" the same with any sign of det R.
    epsilon : float, default 0.1
        Standard deviation ε of the noise of one sample, zero or positive.
    noise : {"gradient", "label"}, default "gradient"
        "gradient" adds a symmetric matrix of std ε off the diagonal and √2 ε on it to the gradient of every
        sample; "label" adds ε times a normal vector to every label.
    dynamics : {"sgd", "langevin"}, default "sgd"
        "sgd" draws samples; "langevin" takes the exact mean gradient and Gaussian noise with the mini-batch's
        covariance ([A] 2.1), in one draw.

    Returns
    -------
    Model
        Weights start from N(0, sigma_w²/n); the published std is 0.1. Grids can vary the scalars `epsilon`
        and `z_ratio` in (0, 1]: the smallest singular value of Z over the largest, which stays as it is;
        those between form a geometric progression, and the singular vectors stay.

    Raises
    ------
    InputError
        If Z is not invertible, if shapes do not fit, or if a number is out of range.

    Notes
    -----
    L = ⟨|Z W_t x − Z W x|²⟩/2 with x ~ N(0, 1)^n, [B]. A mode of ZᵀZ with eigenvalue z² relaxes at the rate
    α z² a step.

    Why symmetric: in the teacher's frame symmetric gradient noise G becomes Rᵀ G, which splits a pair of
    levels by its symmetric part. For R = 1 that is G itself; surmise and two-mode density hold. A rotation by
    θ leaves the traceless part alone, and with it the surmise, but shrinks the motion of the center by cos θ:
    the density is too narrow. A reflection leaves one Gaussian number alone to split the pair: the levels
    cross freely and ⟨S⟩ is smaller by 2/π. Of "orthogonal" teachers half show no repulsion (tested). Label
    noise has no such preference.

    Examples
    --------
    Before the first step, from W = 0, the loss is half the squared norm of Z W_t:

    >>> model = dj.models.linear(z="unequal", teacher=np.diag([2.0, 2.0]))
    >>> world = model.world(jax.random.key(0), 4)
    >>> observed = model.observe({"w": jnp.zeros((2, 2))}, None, world, None, {})
    >>> float(observed["train_loss"])
    2.5

    A grid over its scalars:

    >>> dj.Grid(lr=0.01, batch_size=4, scalars={"z_ratio": [0.25, 0.5, 1.0]}, seeds=100).members
    300
    """
    z = _matrix_z(z)
    size = z.shape[1]
    if teacher is None:
        spectrum = checks.in_range("values", checks.finite_array("values", values))
        if spectrum.ndim != 1 or len(spectrum) != size or (spectrum <= 0).any():
            raise checks.InputError(
                f"values must hold {size} positive singular values, one for each column of Z, got "
                f"{np.round(spectrum, 6).tolist()}"
            )
        checks.one_of("basis", basis, ["rotation", "orthogonal", "symmetric"])
    else:
        given = checks.in_range("teacher", checks.finite_array("teacher", teacher))
        if given.shape != (size, size):
            raise checks.InputError(f"teacher must have shape {(size, size)} to follow Z, got {given.shape}")
    epsilon = _not_negative("epsilon", epsilon)
    noise_of = checks.one_of("noise", noise, ["gradient", "label"])
    checks.one_of("dynamics", dynamics, ["sgd", "langevin"])

    left, singular, right = np.linalg.svd(z, full_matrices=False)
    place = np.arange(size) / max(size - 1, 1)  # of each singular value between the largest and the smallest

    def forward(point, dtype):
        """Z of one network."""
        if "z_ratio" not in point:
            return jnp.asarray(z, dtype)
        scaled = singular[0] * point["z_ratio"].astype(dtype) ** jnp.asarray(place, dtype)
        return (jnp.asarray(left, dtype) * scaled) @ jnp.asarray(right, dtype)

    def world(key, batch_size):
        if teacher is not None:
            return World(jnp.asarray(given, jnp.zeros(()).dtype))
        diagonal = jnp.asarray(spectrum, jnp.zeros(()).dtype)
        q = _random_orthogonal(key, size, any_sign=basis == "orthogonal")
        return World((q * diagonal) @ q.T if basis == "symmetric" else q * diagonal)

    def init(key, world, point):
        return Start({"w": point["sigma_w"] / jnp.sqrt(size) * normal(key, (size, size))})

    def batch(key, world, step, batch_size):
        key_x, key_noise = split(key)
        if dynamics == "sgd":
            x = normal(key_x, (batch_size, size))
            moments = x.T @ x / batch_size
        else:
            moments = jnp.eye(size) + _symmetric(key_x, size) / jnp.sqrt(batch_size)
        if noise_of == "gradient":
            # The mean of |B| independent matrices is one matrix with a |B|-th of the variance.
            return Noise(moments, _symmetric(key_noise, size) / jnp.sqrt(batch_size))
        labels = normal(key_noise, (batch_size if dynamics == "sgd" else size, len(z)))
        if dynamics == "sgd":
            return Noise(moments, labels.T @ x / batch_size)
        return Noise(moments, labels.T / jnp.sqrt(batch_size))

    def mean_gradient(weight, world, point):
        """ZᵀZ (W − W_t), the gradient of the exact loss."""
        z_here = forward(point, weight.dtype)
        return z_here.T @ z_here @ (weight - world.teacher)

    def exact_loss(weight, world, point):
        error = forward(point, weight.dtype) @ (weight - world.teacher)
        return 0.5 * jnp.sum(error * error)

    def update(params, memory, noise, world, point):
        weight = params["w"]
        added = noise.added if noise_of == "gradient" else forward(point, weight.dtype).T @ noise.added
        gradient = mean_gradient(weight, world, point) @ noise.moments
        gradient = gradient + point.get("epsilon", epsilon) * added
        loss = exact_loss(weight, world, point)
        return Update({"w": gradient}, memory, loss, loss <= max_loss)

    def observe(params, initial, world, key, point):
        gradient = mean_gradient(params["w"], world, point)
        return {
            "train_loss": exact_loss(params["w"], world, point),
            "grad_norm": jnp.sqrt(jnp.sum(gradient**2)),
        }

    # The start is as far away as the teacher is large.
    scale = np.sum(z**2) * np.sum((spectrum if teacher is None else given) ** 2)
    max_loss = MAX_LOSS * max(1.0, float(scale))
    return Model(
        name="linear",
        world=world,
        init=init,
        batch=batch,
        update=update,
        matrices=lambda params: params,
        observe=observe,
        observables=OBSERVABLES,
        targets=lambda world: {"w": world.teacher},
        scalars={
            "epsilon": Hyperparameter(
                epsilon, "standard deviation ε of the noise of one sample", _not_negative
            ),
            "z_ratio": Hyperparameter(None, "smallest over largest singular value of Z", _ratio),
        },
        config={
            "z": z.tolist(),
            "teacher": None if teacher is None else given.tolist(),
            "values": spectrum.tolist() if teacher is None else None,
            "basis": basis if teacher is None else None,
            "epsilon": epsilon,
            "noise": noise_of,
            "dynamics": dynamics,
        },
    )


def _not_negative(name: str, value) -> float:
    if checks.in_range(name, checks.finite(name, value)) < 0:
        raise checks.InputError(f"{name} must be zero or positive, got {value}")
    return float(value)


def _ratio(name: str, value) -> float:
    if not checks.positive(name, value) <= 1:
        raise checks.InputError(f"{name} must lie above 0 and not above 1, got {value}")
    return float(value)


def _matrix_z(z) -> np.ndarray:
    if isinstance(z, str):
        return Z_PRESETS[checks.one_of("z", z, list(Z_PRESETS))]
    z = checks.in_range("z", checks.finite_array("z", z, min_ndim=2))
    if z.ndim != 2 or z.shape[0] < z.shape[1]:
        raise checks.InputError(
            f"z must be a matrix with at least as many rows as columns, got shape {z.shape}"
        )
    singular = np.linalg.svd(z, compute_uv=False)
    if singular[-1] <= 1e-10 * singular[0]:
        raise checks.InputError(
            f"z must be invertible, but its singular values are {np.round(singular, 12).tolist()}; "
            f"a zero among them hides a direction of W from the loss"
        )
    return z


def _symmetric(key, size: int) -> jax.Array:
    """A symmetric Gaussian matrix with unit variance off the diagonal and 2 on it."""
    half = normal(key, (size, size))
    return (half + half.T) / jnp.sqrt(2.0)


def _random_orthogonal(key, size: int, any_sign: bool) -> jax.Array:
    """A matrix drawn evenly from the rotations, or from all orthogonal matrices, by Gram-Schmidt.

    Written out, since jaxlib's batched QR must not run inside a model (see `base.eigh`).
    """
    columns: list[jax.Array] = []
    for column in normal(key, (size, size)):
        for _ in range(2):  # twice is enough to be orthogonal to the last digit
            for other in columns:
                column = column - other * jnp.sum(other * column)
        columns.append(column / jnp.sqrt(jnp.sum(column**2)))
    q = jnp.stack(columns, axis=1)
    return q if any_sign else q.at[:, -1].multiply(_sign_of_permutations(q))


def _sign_of_permutations(q: jax.Array) -> jax.Array:
    """det of an orthogonal matrix (±1), by Gaussian elimination with the largest pivots."""
    size, sign, rest = len(q), jnp.ones((), q.dtype), q
    for _ in range(size - 1):
        pivot = jnp.argmax(jnp.abs(rest[:, 0]))
        top = rest[pivot]
        sign = sign * jnp.sign(top[0]) * jnp.where(pivot == 0, 1, -1)
        swapped = rest.at[pivot].set(rest[0])
        rest = swapped[1:, 1:] - jnp.outer(swapped[1:, 0], top[1:]) / top[0]
    return sign * jnp.sign(rest[0, 0])
