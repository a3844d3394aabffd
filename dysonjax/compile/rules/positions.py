"""Elements at positions: known ones become a table, computed ones a look-up in the compiled step."""

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.compile.graph import Node, Unsupported

if TYPE_CHECKING:
    from dysonjax.compile.lower import Builder


def moved(builder: "Builder", equation, inputs) -> list[Node]:
    """A gather or scatter to known places: the same operation on positions tells what is from where."""
    operand, indices, *updates = inputs
    if equation.params["mode"] not in (
        jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS,
        jax.lax.GatherScatterMode.CLIP,
        jax.lax.GatherScatterMode.FILL_OR_DROP,
    ):
        raise Unsupported(f"{equation.primitive.name} in this mode")
    with jax.ensure_compile_time_eval():
        arrays = [
            jnp.arange(operand.size, dtype=jnp.int32).reshape(operand.shape),
            indices.params["value"],
        ]
        for update in updates:
            arrays.append(operand.size + jnp.arange(update.size, dtype=jnp.int32).reshape(update.shape))
        params = dict(equation.params)
        if "fill_value" in params:
            params["fill_value"] = -1
        places = np.asarray(equation.primitive.bind(*map(jnp.asarray, arrays), **params))
    if (places < 0).any():
        raise Unsupported("an index outside of its array")
    whole = operand
    if updates:
        (whole,) = builder.traced(lambda a, b: jnp.concatenate([a.ravel(), b.ravel()]), operand, *updates)
    return [builder.make("take", [whole], places.shape, whole.dtype, {"places": places})]


def gather(builder: "Builder", params, inputs) -> list[Node]:
    """Elements at positions that the step computes; outside of the array the nearest, or a filling."""
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    operand, indices = inputs
    if numbers.operand_batching_dims:
        return builder.traced(lambda a, i: _gather_without_shared_axes(a, i, params), operand, indices)
    fits = params["mode"] in (
        jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS,
        jax.lax.GatherScatterMode.CLIP,
    )
    if fits:
        batch = iter(indices.shape[:-1])
        part = iter(n for axis, n in enumerate(sizes) if axis not in numbers.collapsed_slice_dims)
        rank = len(indices.shape) - 1 + len(numbers.offset_dims)
        shape = [next(part if axis in numbers.offset_dims else batch) for axis in range(rank)]
        known = {"dimension_numbers": numbers, "slice_sizes": sizes}
        return [builder.make("gather", inputs, shape, operand.dtype, known)]
    if params["mode"] != jax.lax.GatherScatterMode.FILL_OR_DROP:
        raise Unsupported("gather in this mode")
    last = np.array([operand.shape[axis] - sizes[axis] for axis in numbers.start_index_map])

    def filled(operand, indices):
        found = jax.lax.gather(operand, indices, numbers, sizes, mode="clip")
        most = np.minimum(last, jnp.iinfo(indices.dtype).max).astype(indices.dtype)
        inside = ((indices >= 0) & (indices <= most)).all(-1)
        inside = jnp.expand_dims(inside, numbers.offset_dims)
        return jnp.where(inside, found, jnp.asarray(params["fill_value"], operand.dtype))

    return builder.traced(filled, operand, indices)


def scatter_add(builder: "Builder", params, inputs) -> list[Node]:
    """Numbers, or windows of them, added at computed positions along one axis, the others shared."""
    numbers = params["dimension_numbers"]
    if len(numbers.inserted_window_dims) != 1 or params["mode"] == jax.lax.GatherScatterMode.CLIP:
        raise Unsupported("a scatter-add of this kind")
    if numbers.update_window_dims:
        return _windows_added(builder, numbers, *inputs)
    (axis,), shared = numbers.inserted_window_dims, numbers.scatter_indices_batching_dims

    def added(operand, indices, updates):
        places = jnp.moveaxis(indices[..., 0], shared, range(len(shared)))
        updates = jnp.moveaxis(updates, shared, range(len(shared)))
        batch = updates.shape[: len(shared)]
        places, updates = (a.reshape(*batch, -1, 1) for a in (places, updates))
        met = places == jnp.arange(operand.shape[axis], dtype=places.dtype)
        total = jnp.sum(jnp.where(met, updates, 0), axis=-2, dtype=operand.dtype)
        order = (*numbers.operand_batching_dims, axis)
        turn = [order.index(a) for a in range(operand.ndim)]
        if plain:
            return operand + total.transpose(turn)
        # Zero added to -0 would be 0.
        return jnp.where(met.any(axis=-2).transpose(turn), operand + total.transpose(turn), operand)

    operand = inputs[0]
    plain = operand.dtype.kind != "f" or (
        operand.op == "constant" and not np.signbit(operand.params["value"]).any()
    )
    return builder.traced(added, *inputs)


def _windows_added(builder: "Builder", numbers, operand: Node, indices: Node, updates: Node) -> list[Node]:
    """Whole windows, such as the gradients of an embedding's rows, one after the other as in XLA."""
    (axis,) = numbers.inserted_window_dims
    window = tuple(updates.shape[dim] for dim in numbers.update_window_dims)
    if numbers.operand_batching_dims or window != operand.shape[:axis] + operand.shape[axis + 1 :]:
        raise Unsupported("a scatter-add of parts of windows")
    count, size = operand.shape[axis], math.prod(window)

    def flat(updates):
        last = range(updates.ndim - len(window), updates.ndim)
        return jnp.moveaxis(updates, numbers.update_window_dims, last).reshape(-1, size)

    (rows,) = builder.traced(lambda a: jnp.moveaxis(a, axis, 0).reshape(count, size), operand)
    (windows,) = builder.traced(flat, updates)
    (places,) = builder.traced(lambda a: a.reshape(-1), indices)
    total = builder.make("add_rows", [rows, windows, places], rows.shape, rows.dtype, {})
    return builder.traced(lambda a: jnp.moveaxis(a.reshape(count, *window), 0, axis), total)


def keys_moved(builder: "Builder", equation, inputs) -> list[Node]:
    """Random keys taken from an array of them: the same operation on positions tells which."""
    keys, *rest = inputs
    if any(node.op != "constant" for node in rest) or len(equation.outvars) != 1:
        raise Unsupported(f"the operation {equation.primitive.name} on random keys")
    count = keys.size // 2
    with jax.ensure_compile_time_eval():
        positions = jnp.arange(count, dtype=jnp.int32).reshape(keys.shape[:-1])
        arrays = [positions, *(jnp.asarray(node.params["value"]) for node in rest)]
        found = np.asarray(equation.primitive.bind(*arrays, **equation.params))
    places = 2 * found[..., None] + np.arange(2)
    return [builder.make("take", [keys], places.shape, keys.dtype, {"places": places})]


def _gather_without_shared_axes(operand: jax.Array, indices: jax.Array, params: dict) -> jax.Array:
    """The same gather with the positions along shared axes among the indices."""
    numbers = params["dimension_numbers"]
    along = [
        jax.lax.broadcasted_iota(indices.dtype, (*indices.shape[:-1], 1), axis)
        for axis in numbers.start_indices_batching_dims
    ]
    shared = numbers.operand_batching_dims
    plain = jax.lax.GatherDimensionNumbers(
        offset_dims=numbers.offset_dims,
        collapsed_slice_dims=tuple(sorted((*numbers.collapsed_slice_dims, *shared))),
        start_index_map=(*shared, *numbers.start_index_map),
    )
    return jax.lax.gather(
        operand,
        jnp.concatenate([*along, indices], axis=-1),
        plain,
        params["slice_sizes"],
        mode=params["mode"],
        fill_value=params["fill_value"],
    )
