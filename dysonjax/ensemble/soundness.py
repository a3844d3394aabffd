"""Do the functions of a model keep to its contract? Found by tracing them before anything is compiled.

Without this a slip in a model of one's own shows up deep inside the engine, in words of the engine. The
functions are traced for one network, as its author thinks of it, and twice: what differs between two traces
of one function is not drawn from its key, and would be the same number in every step.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.checks import InputError
from dysonjax.ensemble.grid import Grid
from dysonjax.models.base import Model, Start, Update

PACKAGE = str(Path(__file__).parents[1])
# Modules of this package whose models call functions that a user has written.
WRAPPERS = ("dysonjax.models.flax_model", "dysonjax.models.langevin")
CONTROL_FLOW = (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)


class _Point(dict):
    """The hyperparameters of a member; asking for another one says what there is."""

    def __missing__(self, name):
        raise InputError(
            f"a point holds {', '.join(self)}, not {name}; declare {name} in the scalars of the model and "
            f"name it in those of the grid, or read point.get({name!r}, default)"
        )


def check(model: Model, grid: Grid, x64: bool, optimizer: Any = None) -> None:
    """Raise InputError if a function of a model fails, returns what it must not, or is not pure.

    optimizer: a transform of the user's own, which is refused if it holds a learning rate.
    """
    if optimizer is not None:
        _check_optimizer(optimizer)
    module = str(getattr(model.update, "__module__", ""))
    if module.startswith("dysonjax.models.") and module not in WRAPPERS:
        return
    size = grid.batch_size[0]
    with jax.enable_x64(x64):
        key = jax.random.key(0)
        point = {name: jnp.zeros(()) for name in ("lr", "sigma_w", *grid.scalars)}
        step = jnp.int32(0)

        def called(name: str, function: Callable, *arguments) -> Any:
            return _traced(model, name, function, arguments)

        world = called("world", lambda k: model.world(k, size), key)
        start = called("init", lambda k, w, p: model.init(k, w, _Point(p)), key, world, point)
        _check_start(model, start)
        batch = called("batch", lambda k, w, s: model.batch(k, w, s, size), key, world, step)
        params, memory = start
        update = called(
            "update", lambda p, m, b, w, at: model.update(p, m, b, w, _Point(at)),
            params, memory, batch, world, point,
        )  # fmt: skip
        _check_update(model, update, start)
        _check_matrices(model, called("matrices", model.matrices, params))
        observed = called(
            "observe", lambda p, i, w, k, at: model.observe(p, i, w, k, _Point(at)),
            params, params, world, key, point,
        )  # fmt: skip
        _check_observed(model, observed)


def _traced(model: Model, name: str, function: Callable, arguments: tuple) -> Any:
    """Shapes of what a function of the model returns; arguments: arrays or their shapes."""
    try:
        first, returned = jax.make_jaxpr(lambda *a: function(*a), return_shape=True)(*arguments)
        second = jax.make_jaxpr(lambda *a: function(*a))(*arguments)
    except InputError as error:
        raise InputError(f"{name} of {model.name}: {error}") from None
    except Exception as error:
        hint = ""
        if isinstance(error, CONTROL_FLOW):
            hint = (
                "; values are not known while JAX traces: take jnp.where or jax.lax.cond, not if or float()"
            )
        elif isinstance(error, TypeError) and "valid JAX type" in str(error):
            hint = "; it must return arrays, in tuples, lists, dicts and the like"
        said = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(
            f"{name} of {model.name} fails{_line(error)}: {type(error).__name__}: {said}{hint}"
        ) from error
    if not _same(list(_numbers(first)), list(_numbers(second))):
        raise InputError(
            f"{name} of {model.name} holds other numbers each time that it is traced, and would keep "
            "the first ones in every step; draw them from the key that world, init, batch and observe get"
        )
    return returned


def _line(error: Exception) -> str:
    """The line of the model's author in which an error came up."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith(PACKAGE)]
    return f" in line {own[-1].lineno} of {Path(own[-1].filename).name}" if own else ""


def _numbers(jaxpr):
    """All numbers that a traced program holds, from the outside in."""
    yield from (np.asarray(value) for value in getattr(jaxpr, "consts", ()) if _is_numeric(value))
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield from (np.asarray(a.val) for a in equation.invars if hasattr(a, "val") and _is_numeric(a.val))
        for parameter in equation.params.values():
            for inner in parameter if isinstance(parameter, tuple | list) else (parameter,):
                if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                    yield from _numbers(inner)


def _is_numeric(value) -> bool:
    if np.isscalar(value):
        return True
    return hasattr(value, "dtype") and not jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended)


def _same(one: list, other: list) -> bool:
    return len(one) == len(other) and all(
        a is b or (a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
        for a, b in zip(one, other, strict=True)
    )


def _check_start(model: Model, start) -> None:
    if not isinstance(start, Start):
        raise InputError(
            f"init of {model.name} must return a dj.models.Start(params, memory), got {_kind(start)}"
        )
    for path, leaf in jax.tree.leaves_with_path(start.params):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise InputError(
                f"params of {model.name} must be floating-point numbers, but params{_place(path)} is "
                f"{leaf.dtype}; what is not trained belongs in the memory of its Start"
            )


def _check_update(model: Model, update, start: Start) -> None:
    if not isinstance(update, Update):
        raise InputError(
            f"update of {model.name} must return a dj.models.Update(direction, memory, loss, healthy), "
            f"got {_kind(update)}"
        )
    for what, new, old, types in (
        ("direction", update.direction, start.params, False),
        ("memory", update.memory, start.memory, True),
    ):
        before = "params" if what == "direction" else "memory before"
        trees: list[Any] = [jax.tree.structure(tree) for tree in (new, old)]
        if trees[0] != trees[1]:
            raise InputError(
                f"the {what} that update of {model.name} returns must be built like the {before}, "
                f"{_tree(old)}, got {_tree(new)}"
            )
        for (path, a), b in zip(jax.tree.leaves_with_path(new), jax.tree.leaves(old), strict=True):
            if a.shape != b.shape or (types and a.dtype != b.dtype):
                raise InputError(
                    f"the {what}{_place(path)} that update of {model.name} returns must be like the "
                    f"{before}, {_leaf(b)}, got {_leaf(a)}"
                )
    for what, kind in (("loss", jnp.number), ("healthy", jnp.bool_)):
        value = getattr(update, what)
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if shape != () or dtype is None or not jnp.issubdtype(dtype, kind):
            want = "one number" if what == "loss" else "one truth value, such as loss < 100"
            got = _kind(value) if shape is None else _leaf(value)
            raise InputError(f"{what} in the Update of {model.name} must be {want}, got {got}")


def _check_matrices(model: Model, matrices) -> None:
    remedy = "a dict of weight matrices by name, each of shape (n_in, n_out)"
    if not isinstance(matrices, Mapping):
        raise InputError(f"matrices of {model.name} must return {remedy}, got {_kind(matrices)}")
    for name, matrix in matrices.items():
        if getattr(matrix, "ndim", None) != 2 or not isinstance(name, str):
            raise InputError(
                f"matrices of {model.name} must return {remedy}, but {name!r} is {_tree(matrix)}"
            )


def _check_observed(model: Model, observed) -> None:
    if not isinstance(observed, Mapping):
        raise InputError(
            f"observe of {model.name} must return a dict of scalars by name, got {_kind(observed)}"
        )
    for name, value in observed.items():
        if getattr(value, "shape", None) != ():
            raise InputError(
                f"observe of {model.name} must return scalars, but {name} is {_tree(value)}; take its "
                "mean, or give each component a name of its own"
            )
        if name not in model.observables:
            raise InputError(
                f"observe of {model.name} returns {name}, which its observables do not name; add "
                f"{{{name!r}: 'what it is, with unit'}} there"
            )


def _check_optimizer(optimizer) -> None:
    """A learning rate turns the sign of what a transform returns, and training would climb its loss."""
    weights = {"w": jnp.ones((2, 2))}
    try:
        moved, _ = optimizer.update(weights, optimizer.init(weights), weights)
        uphill = float(jnp.sum(moved["w"])) < 0
    except Exception:  # it is made for the parameters of its model alone
        return
    if uphill:
        raise InputError(
            "optimizer must be a transform of optax without learning rate, such as optax.scale_by_adam() in "
            "place of optax.adam(lr): the grid's lr multiplies what it returns, with a minus"
        )


def _kind(value) -> str:
    if hasattr(value, "dtype"):
        return f"an array, {_leaf(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _place(path) -> str:
    return jax.tree_util.keystr(path) if path else ""


def _tree(value) -> str:
    """A pytree of shapes in few words."""
    leaves = [f"{_place(p)}: {_leaf(a)}" if p else _leaf(a) for p, a in jax.tree.leaves_with_path(value)]
    if len(leaves) > 4:
        leaves = [*leaves[:4], f"and {len(leaves) - 4} more"]
    return ", ".join(leaves) or "nothing"


def _leaf(array) -> str:
    return f"{array.dtype}{list(array.shape)}"
