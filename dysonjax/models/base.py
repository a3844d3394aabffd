"""The contract between a physical system and the ensemble engine.

A model is a record of pure functions of ONE network. The engine maps them over seeds and grid points,
compiles them, freezes members that diverge and records spectra; it never sees a loss function.

All randomness enters through the keys that the engine passes in, and all randomness of a training step
lives in the batch: members that share their seed's randomness then share the batch, and a thousand small
products become one large one. Products with a batch read `inputs @ weight`, with weights stored
(n_in, n_out): that is the order in which the engine can fold the members into the output axis.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dysonjax import checks, threefry

Key = jax.Array  # shape (), a typed PRNG key
Scalar = jax.Array  # shape ()
Point = Mapping[str, Scalar]  # traced hyperparameters of a member: "lr", "sigma_w" and the grid's scalars
Tree = Any  # a pytree of arrays; its structure is the model's own


class Update(NamedTuple):
    """What one network makes of one batch.

    Attributes
    ----------
    direction : pytree
        Like the parameters. The engine moves them by −lr times (the optimizer's version of) it.
    memory : pytree
        Like the incoming memory.
    loss : array, shape ()
        Loss of the batch.
    healthy : bool array, shape ()
        False freezes the member for good and marks it as diverged.
    """

    direction: Tree
    memory: Tree
    loss: Scalar
    healthy: Scalar


class Start(NamedTuple):
    """A network before its first step.

    Attributes
    ----------
    params : pytree
        The weights.
    memory : pytree, default ()
        Whatever else the network carries from step to step, such as Markov chains.
    """

    params: Tree
    memory: Tree = ()


class Hyperparameter(NamedTuple):
    """A scalar of a model that a grid can vary. It changes no shapes, so that it is traced like lr.

    Attributes
    ----------
    default : float or None
        What a grid that does not name it gets. None: the model goes without it.
    long_name : str
        With unit.
    check : callable
        (name, value) -> the value, or InputError.
    """

    default: float | None
    long_name: str
    check: Callable[[str, Any], float] = checks.finite


@dataclasses.dataclass(frozen=True)
class Model:
    """One physical system, as a record of pure functions of one network.

    Attributes
    ----------
    name : str
        What results and messages call it.
    world : callable
        (key, batch_size) -> what all members of a seed share: teacher, data set, features that training does
        not change. Computed once for each seed.
    init : callable
        (key, world, point) -> the initial `Start` of one network.
    batch : callable
        (key, world, step, batch_size) -> the data and the noise of one step. The key is fresh in every step.
    update : callable
        (params, memory, batch, world, point) -> an `Update`.
    matrices : callable
        (params) -> the weight matrices by name. Their squared singular values are recorded.
    observe : callable
        (params, initial_params, world, key, point) -> further numbers to record, scalars by name. They must
        contain "train_loss". The key is the same at every record of a seed.
    observables : mapping
        A long name, with unit, for each name that `observe` returns.
    targets : callable
        (world) -> matrices that learning aims at, under the names of the learned ones, if they are known.
        Their squared singular values are recorded once.
    target_sides : tuple of str
        Of which singular vectors of the targets learning determines the direction.
    target_scale : str, optional
        Name of the scalar, if there is one, to which the targets are proportional. They are given at its
        default.
    scalars : mapping of str to Hyperparameter
        What a grid can vary, by name. The functions read them as `point.get(name, default)`, since a point
        holds only those that its grid names.
    draws : bool, default True
        Whether `batch` uses its key. If not, a batch is looked up in the world, not carried by the loop.
    member_axis : {"inner", "last"}, default "inner"
        Where the engine puts the members of a seed in each array of their state. "inner" is next to the last
        axis, for networks with products of two quantities that both differ from member to member. "last" is
        for models where every learned weight meets inputs that the members share (use `lane_product`).
    config : mapping
        Everything that defines the model, as JSON values. It is stored with the results.

    Examples
    --------
    >>> model = dj.models.linear(epsilon=0.2)
    >>> model.name, model.config["epsilon"], list(model.scalars)
    ('linear', 0.2, ['epsilon', 'z_ratio'])
    >>> point = {"lr": 0.1, "sigma_w": 1.0}
    >>> start = model.init(jax.random.key(0), None, point)
    >>> {name: matrix.shape for name, matrix in model.matrices(start.params).items()}
    {'w': (2, 2)}
    """

    name: str
    world: Callable[[Key, int], Tree]
    init: Callable[[Key, Tree, Point], Start]
    batch: Callable[[Key, Tree, Scalar, int], Tree]
    update: Callable[[Tree, Tree, Tree, Tree, Point], Update]
    matrices: Callable[[Tree], dict[str, jax.Array]]
    observe: Callable[[Tree, Tree, Tree, Key, Point], dict[str, Scalar]]
    observables: Mapping[str, str]
    targets: Callable[[Tree], dict[str, jax.Array]] = lambda world: {}
    target_sides: tuple[str, ...] = ("right", "left")
    target_scale: str | None = None
    scalars: Mapping[str, Hyperparameter] = dataclasses.field(default_factory=dict)
    draws: bool = True
    member_axis: str = "inner"
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@jax.custom_vjp
def product(inputs: jax.Array, weight: jax.Array) -> jax.Array:
    """`inputs @ weight` for inputs (samples, n_in) and a weight (n_in, n_out).

    Its gradient with respect to the weight is written as `inputs.T @ cotangent`. JAX's own transposition rule
    forms the transpose of that, and every training step then reads the gradient across its rows: measured
    3.0 instead of 4.0 M network-steps/s for the [3, 32, 16, 1] student.
    """
    return inputs @ weight


def _product_forward(inputs, weight):
    return inputs @ weight, (inputs, weight)


def _product_backward(saved, cotangent):
    inputs, weight = saved
    return cotangent @ weight.T, inputs.T @ cotangent


product.defvjp(_product_forward, _product_backward)


@jax.custom_batching.custom_vmap
def _contract(inputs: jax.Array, weight: jax.Array) -> jax.Array:
    """(samples, n_in) times (n_in, n_out); with members (…, members), in the last axis of what differs."""
    return inputs @ weight


@_contract.def_vmap
def _contract_members(members, differ, inputs, weight):
    if differ == [False, True]:
        columns = jnp.moveaxis(weight, 0, -1)
        out = inputs @ columns.reshape(columns.shape[0], -1)
        out = out.reshape(inputs.shape[0], *columns.shape[1:])
    elif differ == [True, False] and 1 in weight.shape:
        out = jnp.sum(jnp.moveaxis(inputs, 0, -1)[:, :, None] * weight[None, :, :, None], axis=1)
    else:
        first, second = ("msi" if differ[0] else "si"), ("mio" if differ[1] else "io")
        out = jnp.einsum(f"{first},{second}->som", inputs, weight)
    # vmap wants the members first; a consumer's own `moveaxis` cancels this one.
    return jnp.moveaxis(out, -1, 0), True


@jax.custom_vjp
def lane_product(inputs: jax.Array, weight: jax.Array) -> jax.Array:
    """`inputs @ weight`, for a model with `member_axis="last"`: the members fill the vector lanes.

    Inputs that the members share make one product with all their weights, (samples, n_in) times
    (n_in, n_out · members), without a transposition, forward and backward.
    """
    return _contract(inputs, weight)


def _lane_product_forward(inputs, weight):
    return _contract(inputs, weight), (inputs, weight)


def _lane_product_backward(saved, cotangent):
    inputs, weight = saved
    return _contract(cotangent, weight.T), _contract(inputs.T, cotangent)


lane_product.defvjp(_lane_product_forward, _lane_product_backward)


def normal(key: Key, shape: tuple[int, ...], dtype=None) -> jax.Array:
    """The same numbers as `jax.random.normal(key, shape)`, drawn along one axis.

    dtype: float32 or float64, by default the one of the run.

    On a CPU the generator vectorises along the last axis only: with ten numbers there a normal costs
    40-60 ns a core, in one long row 6 ns. The barrier keeps XLA from undoing that.
    """
    flat = threefry.normals(key, math.prod(shape), jnp.zeros((), dtype).dtype)
    return jax.lax.optimization_barrier(flat).reshape(shape)


def split(key: Key, count: int = 2) -> tuple[Key, ...]:
    """The keys of `jax.random.split(key, count)`; cheaper to run and to compile, see `threefry`."""
    return tuple(threefry.derive(key, number) for number in range(count))


@jax.custom_batching.custom_vmap
def eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues (ascending) and eigenvectors of one symmetric matrix, safe inside a model's functions.

    On several host devices `jnp.linalg.eigh` under vmap can wait for ever: jaxlib's batched LAPACK calls
    block threads of the pool that they need themselves. On a CPU one matrix a call runs in its own thread;
    elsewhere all go together, which takes an H100 1 ms for 1440 of 16 x 16, and 0.55 s one by one. Any
    non-finite matrix gives NaN, not numbers.
    """
    return _eigh(matrix)


@eigh.def_vmap
def _eigh_of_many(count, batched, matrices):
    one_by_one = functools.partial(jax.lax.map, eigh)
    return jax.lax.platform_dependent(matrices, cpu=one_by_one, default=_eigh), (True, True)


def _eigh(matrices: jax.Array) -> tuple[jax.Array, jax.Array]:
    finite = jnp.isfinite(matrices).all((-2, -1), keepdims=True)
    values, vectors = jnp.linalg.eigh(
        jnp.where(finite, matrices, jnp.eye(matrices.shape[-1], dtype=matrices.dtype))
    )
    return jnp.where(finite[..., 0], values, jnp.nan), jnp.where(finite, vectors, jnp.nan)
