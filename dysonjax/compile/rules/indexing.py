"""Elements at positions: known ones become a table, computed ones a look-up in the compiled step."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.compile.graph import Node, Unsupported


def at_known_places(context, operand: Node, indices: Node, *updates: Node, **params) -> list[Node]:
    """A gather or scatter to known places: the same operation on positions tells what is from where."""
    if params["mode"] not in (
        jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS,
        jax.lax.GatherScatterMode.CLIP,
        jax.lax.GatherScatterMode.FILL_OR_DROP,
    ):
        raise Unsupported(f"{context.equation.primitive.name} in this mode")
    arrays = [np.arange(operand.size, dtype=np.int32).reshape(operand.shape), indices.params["value"]]
    for update in updates:
        arrays.append(operand.size + np.arange(update.size, dtype=np.int32).reshape(update.shape))
    places = context.now(*arrays, **(params | ({"fill_value": -1} if "fill_value" in params else {})))
    if (places < 0).any():
        raise Unsupported("an index outside of its array")
    whole = operand
    if updates:
        (whole,) = context.traced(lambda a, b: jnp.concatenate([a.ravel(), b.ravel()]), operand, *updates)
    return [context.make("take", [whole], places.shape, whole.dtype, {"places": places})]


def gather(context, operand: Node, indices: Node, **params):
    """Elements at positions that the step computes; outside of the array the nearest, or a filling."""
    if indices.op == "constant":
        return at_known_places(context, operand, indices, **params)
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    if numbers.operand_batching_dims:
        return lambda a, i: _gather_without_shared_axes(a, i, params)
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
        return [context.make("gather", [operand, indices], shape, operand.dtype, known)]
    if params["mode"] != jax.lax.GatherScatterMode.FILL_OR_DROP:
        raise Unsupported("gather in this mode")
    last = np.array([operand.shape[axis] - sizes[axis] for axis in numbers.start_index_map])

    def filled(operand, indices):
        found = jax.lax.gather(operand, indices, numbers, sizes, mode="clip")
        most = np.minimum(last, jnp.iinfo(indices.dtype).max).astype(indices.dtype)
        inside = ((indices >= 0) & (indices <= most)).all(-1)
        inside = jnp.expand_dims(inside, numbers.offset_dims)
        return jnp.where(inside, found, jnp.asarray(params["fill_value"], operand.dtype))

    return filled


def scatter(context, operand: Node, indices: Node, update: Node, **params):
    return at_known_places(context, operand, indices, update, **params) if indices.op == "constant" else None


def scatter_add(context, operand: Node, indices: Node, updates: Node, *, dimension_numbers, mode, **_):
    """Numbers, or windows of them, added at computed positions along one axis, the others shared."""
    numbers = dimension_numbers
    if len(numbers.inserted_window_dims) != 1 or mode == jax.lax.GatherScatterMode.CLIP:
        raise Unsupported("a scatter-add of this kind")
    if numbers.update_window_dims:
        return _windows_added(context, numbers, operand, indices, updates)
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

    plain = operand.dtype.kind != "f" or (
        operand.op == "constant" and not np.signbit(operand.params["value"]).any()
    )
    return added


def _windows_added(context, numbers, operand: Node, indices: Node, updates: Node) -> list[Node]:
    """Whole windows, such as the gradients of an embedding's rows, one after the other as in XLA."""
    (axis,) = numbers.inserted_window_dims
    window = tuple(updates.shape[dim] for dim in numbers.update_window_dims)
    if numbers.operand_batching_dims or window != operand.shape[:axis] + operand.shape[axis + 1 :]:
        raise Unsupported("a scatter-add of parts of windows")
    count, size = operand.shape[axis], math.prod(window)

    def flat(updates):
        last = range(updates.ndim - len(window), updates.ndim)
        return jnp.moveaxis(updates, numbers.update_window_dims, last).reshape(-1, size)

    (rows,) = context.traced(lambda a: jnp.moveaxis(a, axis, 0).reshape(count, size), operand)
    (windows,) = context.traced(flat, updates)
    (places,) = context.traced(lambda a: a.reshape(-1), indices)
    total = context.make("add_rows", [rows, windows, places], rows.shape, rows.dtype, {})
    return context.traced(lambda a: jnp.moveaxis(a.reshape(count, *window), 0, axis), total)


def keys_at_known_places(context, keys: Node, *rest: Node, **params) -> list[Node]:
    """Random keys taken from an array of them: the same operation on positions tells which."""
    if any(node.op != "constant" for node in rest) or len(context.equation.outvars) != 1:
        raise Unsupported(f"the operation {context.equation.primitive.name} on random keys")
    positions = np.arange(keys.size // 2, dtype=np.int32).reshape(keys.shape[:-1])
    found = context.now(positions, *(node.params["value"] for node in rest), **params)
    places = 2 * found[..., None] + np.arange(2)
    return [context.make("take", [keys], places.shape, keys.dtype, {"places": places})]


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


RULES = {"gather": gather, "scatter": scatter, "scatter-add": scatter_add}
