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
        Like params. The engine moves params by −lr times it, or times what the optimiser makes of it.
    memory : pytree
        Like the incoming memory.
    loss : array, shape ()
        Loss of the batch.
    healthy : array, shape (), bool
        False freezes the member for good and marks it as diverged.

    Examples
    --------
    A step of plain gradient descent:

    >>> def update(params, memory, batch, world, point):
    ...     loss, gradient = jax.value_and_grad(lambda w: 0.5 * jnp.sum((w - batch) ** 2))(params)
    ...     return dj.models.Update(gradient, memory, loss, healthy=loss < 100)
    >>> step = update(jnp.array([3.0, 0.0]), (), jnp.array([1.0, 0.0]), (), {})
    >>> step.direction.tolist(), bool(step.healthy)
    ([2.0, 0.0], True)
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
        What is trained.
    memory : pytree, default ()
        Whatever else the network carries from step to step, such as Markov chains.

    Examples
    --------
    Weights whose width the grid can vary:

    >>> def init(key, world, point):
    ...     return dj.models.Start({"w": point["sigma_w"] / 4 * jax.random.normal(key, (16, 8))})
    >>> init(jax.random.key(0), (), {"sigma_w": 1.0}).params["w"].shape
    (16, 8)
    """

    params: Tree
    memory: Tree = ()


class Hyperparameter(NamedTuple):
    """A scalar of a model that a grid can vary; it changes no shapes, so that it is traced like lr.

    Attributes
    ----------
    default : float or None
        What a grid that does not name it gets. With None the model goes without it.
    long_name : str
        What it is, with unit.
    check : callable, default checks.finite
        check(name, value) gives the value, or raises InputError.

    Examples
    --------
    >>> dj.models.Hyperparameter(0.1, "standard deviation of the label noise").default
    0.1
    >>> {name: scalar.default for name, scalar in dj.models.linear().scalars.items()}
    {'epsilon': 0.1, 'z_ratio': None}
    """

    default: float | None
    long_name: str
    check: Callable[[str, Any], float] = checks.finite


@dataclasses.dataclass(frozen=True)
class Model:
    """One physical system, as pure functions of one network.

    Parameters
    ----------
    name : str
        Name of the model, stored with the results.
    world : callable
        world(key, batch_size) gives what all members of a seed share: teacher, data set, features that
        training does not change. It is computed once a seed.
    init : callable
        init(key, world, point) gives the initial `Start` of one network.
    batch : callable
        batch(key, world, step, batch_size) gives the data and the noise of one step. `key` is fresh in every
        step.
    update : callable
        update(params, memory, batch, world, point) gives an `Update`.
    matrices : callable
        matrices(params) gives the weight matrices by name, each of shape (n_in, n_out). Their squared
        singular values are recorded.
    observe : callable
        observe(params, initial_params, world, key, point) gives further numbers to record, scalars by name.
        They must contain "train_loss". `key` is the same at every record of a seed.
    observables : mapping of str to str
        A long name, with unit, for each name that `observe` returns.
    targets : callable, optional
        targets(world) gives matrices that learning aims at, if they are known, under the names of the learned
        ones. Their squared singular values are recorded once. The default knows none.
    target_sides : tuple of str, default ("right", "left")
        Of which singular vectors of the targets learning determines the direction.
    target_scale : str, optional
        Name of the scalar, if there is one, to which the targets are proportional. They are given at its
        default.
    scalars : mapping of str to Hyperparameter, default empty
        Hyperparameters of the model that a grid can vary, by name. The functions above read them as
        `point.get(name, default)`, since a point holds only those that its grid names.
    draws : bool, default True
        Whether `batch` uses its key. If not, a batch is looked up in the world, not carried by the loop.
    member_axis : str, default "inner"
        Where the engine puts the members of a seed in each array of their state. "inner", next to the last
        axis, is for networks with products of two quantities that both differ from member to member; "last"
        is for those where every learned weight meets inputs that the members share (use `lane_product`).
    config : mapping, default empty
        Everything that defines the model, as JSON values; stored with the results.

    Notes
    -----
    `point` holds the hyperparameters of a member as traced scalars: "lr", "sigma_w" and the grid's scalars.
    All randomness of a step lives in its batch, and products with a batch read `inputs @ weight`: members
    that share their seed's randomness then share the batch, and many small products become one large one.

    Examples
    --------
    Weights that are pulled to 0 and pushed by noise, ready for `dj.train`:

    >>> def batch(key, world, step, batch_size):
    ...     return jax.random.normal(key, (4, 2)) / jnp.sqrt(batch_size)
    >>> def update(params, memory, noise, world, point):
    ...     loss = 0.5 * jnp.sum(params["w"] ** 2)
    ...     return dj.models.Update({"w": params["w"] + noise}, memory, loss, healthy=loss < 100)
    >>> model = dj.models.Model(
    ...     name="bowl",
    ...     world=lambda key, batch_size: (),
    ...     init=lambda key, world, point: dj.models.Start({"w": point["sigma_w"] * jnp.ones((4, 2))}),
    ...     batch=batch,
    ...     update=update,
    ...     matrices=lambda params: params,
    ...     observe=lambda params, *rest: {"train_loss": 0.5 * jnp.sum(params["w"] ** 2)},
    ...     observables={"train_loss": "half the squared norm of the weights"},
    ... )
    >>> start = model.init(jax.random.key(0), (), {"sigma_w": 0.5})
    >>> float(model.observe(start.params, start.params, (), jax.random.key(0), {})["train_loss"])
    1.0
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
