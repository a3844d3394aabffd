"""A jaxpr as a graph of array operations that one C function can hold.

Calls, scans and random-key operations are written out, what depends on constants alone is computed now, equal
nodes are one node, and what no output needs is left away. Anything else raises `Unsupported`; the engine then
lets XLA compile the step.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from dysonjax import threefry
from dysonjax.native.operations import KNOWN, OPERATIONS

MOST_TURNS = 64  # of a loop that is written out
MOST_NODES = 20_000

# How often a value changes: never, with the world, with the step, with the network.
CONSTANT, WORLD, STEP, NETWORK = range(4)


class Unsupported(Exception):
    """The step holds something that this compiler does not know; the message says what."""


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One array of the step."""

    op: str  # "input", "constant" or the name of a JAX primitive
    inputs: tuple["Node", ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    level: int
    lanes: bool  # whether it differs between the networks of a vector
    params: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def source(shape: Sequence[int], dtype, level: int, lanes: bool) -> Node:
    """An input of the step."""
    return Node("input", (), tuple(shape), np.dtype(dtype), level, lanes)


def constant(value) -> Node:
    value = np.asarray(value)
    return Node("constant", (), value.shape, value.dtype, CONSTANT, False, {"value": value})


def build(jaxpr: jax.extend.core.ClosedJaxpr, inputs: Sequence[Node]) -> list[Node]:
    """The nodes of the outputs. A random key among the inputs is given by its words, (..., 2) uint32."""
    try:
        return _Builder().closed(jaxpr, inputs)
    except (KeyError, AttributeError) as missing:  # parameters have other names in other versions of JAX
        raise Unsupported(f"an operation without its parameter {missing}") from missing


def topological(outputs: Sequence[Node]) -> list[Node]:
    """All nodes behind the outputs, each after those that it needs."""
    order, seen, stack = [], set(), [(node, False) for node in reversed(outputs)]
    while stack:
        node, finished = stack.pop()
        if finished:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((operand, False) for operand in reversed(node.inputs))
    return order


class _Builder:
    def __init__(self):
        self.known: dict[tuple, Node] = {}

    def closed(self, jaxpr, inputs) -> list[Node]:
        return self.run(jaxpr.jaxpr, [self.literal(value) for value in jaxpr.consts], inputs)

    def run(self, jaxpr, constants, inputs) -> list[Node]:
        values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *inputs), strict=True))

        def read(variable):
            literal = isinstance(variable, jax.extend.core.Literal)
            return self.literal(variable.val, variable.aval.dtype) if literal else values[variable]

        for equation in jaxpr.eqns:
            outputs = self.equation(equation, [read(variable) for variable in equation.invars])
            values.update(zip(equation.outvars, outputs, strict=True))
        return [read(variable) for variable in jaxpr.outvars]

    def literal(self, value, dtype=None) -> Node:
        if jax.dtypes.issubdtype(getattr(value, "dtype", np.float32), jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        return self.shared(constant(np.asarray(value, dtype)))

    def shared(self, node: Node) -> Node:
        """The node itself, or an equal one that was there before."""
        if node.op == "constant":
            value = node.params["value"]
            key = ("constant", value.shape, value.dtype.str, value.tobytes())
        else:
            operands = [id(operand) for operand in node.inputs]
            operands = sorted(operands) if node.op in ("add", "add_any", "mul") else operands
            key = (node.op, tuple(operands), node.shape, node.dtype.str, _hashable(node.params))
        if len(self.known) > MOST_NODES:
            raise Unsupported(f"more than {MOST_NODES} operations")
        return self.known.setdefault(key, node)

    def equation(self, equation, inputs: list[Node]) -> list[Node]:
        name, params = equation.primitive.name, equation.params
        if name == "scan":
            return self.scan(equation, inputs)
        if name in WRITTEN_OUT:
            return WRITTEN_OUT[name](self, params, inputs)
        for call in ("jaxpr", "call_jaxpr", "call", "fun_jaxpr"):
            if call in params and name not in ("scan", "while", "cond"):
                return self.inner(params[call], inputs)
        if any(jax.dtypes.issubdtype(v.aval.dtype, jax.dtypes.prng_key) for v in equation.invars):
            return self.keys_moved(equation, inputs)
        if all(node.op == "constant" for node in inputs):
            return self.computed(equation, inputs)
        if name in ("gather", "scatter") and inputs[1].op == "constant":
            return self.moved(equation, inputs)
        if name == "gather":
            return self.gather(params, inputs)
        if name == "dot_general" and _one_term(params["dimension_numbers"], inputs[0]):
            return self.traced(lambda a, b: _outer(a, b, params["dimension_numbers"]), *inputs)
        if name not in OPERATIONS:
            raise Unsupported(f"the operation {name}")
        return [
            self.make(name, inputs, out.aval.shape, out.aval.dtype, {k: params[k] for k in OPERATIONS[name]})
            for out in equation.outvars
        ]

    def make(self, op, inputs, shape, dtype, params) -> Node:
        level = max((node.level for node in inputs), default=CONSTANT)
        lanes = any(node.lanes for node in inputs)
        return self.shared(Node(op, tuple(inputs), tuple(shape), np.dtype(dtype), level, lanes, params))

    def computed(self, equation, inputs) -> list[Node]:
        name, out = equation.primitive.name, equation.outvars[0].aval
        if name in KNOWN:  # JAX would compile a program for each of them
            params = {} if isinstance(KNOWN[name], np.ufunc) else equation.params
            value = KNOWN[name](*(node.params["value"] for node in inputs), **params)
            return [self.literal(np.asarray(value, out.dtype).reshape(out.shape))]
        with jax.ensure_compile_time_eval():
            arrays = [jnp.asarray(node.params["value"]) for node in inputs]
            results = equation.primitive.bind(*arrays, **equation.params)
        results = results if equation.primitive.multiple_results else [results]
        return [self.literal(np.asarray(result)) for result in results]

    def moved(self, equation, inputs) -> list[Node]:
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
            (whole,) = self.traced(lambda a, b: jnp.concatenate([a.ravel(), b.ravel()]), operand, *updates)
        return [self.make("take", [whole], places.shape, whole.dtype, {"places": places})]

    def gather(self, params, inputs) -> list[Node]:
        """Elements at positions that the step computes; outside of the array the nearest, or a filling."""
        numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
        if numbers.operand_batching_dims:
            raise Unsupported("a gather with shared axes")
        operand, indices = inputs
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
            return [self.make("gather", inputs, shape, operand.dtype, known)]
        if params["mode"] != jax.lax.GatherScatterMode.FILL_OR_DROP:
            raise Unsupported("gather in this mode")
        last = np.array([operand.shape[axis] - sizes[axis] for axis in numbers.start_index_map])

        def filled(operand, indices):
            found = jax.lax.gather(operand, indices, numbers, sizes, mode="clip")
            inside = ((indices >= 0) & (indices <= last.astype(indices.dtype))).all(-1)
            inside = jnp.expand_dims(inside, numbers.offset_dims)
            filling = params["fill_value"]
            if filling is None:
                filling = jnp.nan if operand.dtype.kind == "f" else jnp.iinfo(operand.dtype).max
            return jnp.where(inside, found, jnp.asarray(filling, operand.dtype))

        return self.traced(filled, operand, indices)

    def keys_moved(self, equation, inputs) -> list[Node]:
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
        return [self.make("take", [keys], places.shape, keys.dtype, {"places": places})]

    def inner(self, jaxpr, inputs) -> list[Node]:
        if hasattr(jaxpr, "jaxpr"):
            return self.closed(jaxpr, inputs)
        return self.run(jaxpr, [], inputs)

    def traced(self, function, *inputs: Node) -> list[Node]:
        """A function of arrays, written out for these inputs."""
        shapes = [jax.ShapeDtypeStruct(node.shape, node.dtype) for node in inputs]
        return self.closed(jax.make_jaxpr(function)(*shapes), inputs)

    def scan(self, equation, inputs) -> list[Node]:
        params, body = equation.params, equation.params["jaxpr"]
        turns = params["length"]
        if turns > MOST_TURNS:
            raise Unsupported(f"a scan of {turns} steps")
        # Ranks tell what is carried and what is stacked; how JAX counts them depends on its version.
        carried = sum(o.aval.ndim == i.ndim for o, i in zip(equation.outvars, body.out_avals, strict=True))
        stacks = sum(o.aval.ndim != i.ndim for o, i in zip(equation.invars, body.in_avals, strict=True))
        constants = len(inputs) - carried - stacks
        fixed, carry, rows = inputs[:constants], inputs[constants:][:carried], inputs[constants + carried :]
        stacked = {}
        for turn in reversed(range(turns)) if params["reverse"] else range(turns):
            outputs = self.inner(body, (*fixed, *carry, *(self.row(r, turn) for r in rows)))
            carry, stacked[turn] = outputs[:carried], outputs[carried:]
        columns = zip(*(stacked[turn] for turn in range(turns)), strict=True)
        return [*carry, *(self.traced(lambda *parts: jnp.stack(parts), *column)[0] for column in columns)]

    def row(self, node: Node, index: int) -> Node:
        return self.traced(lambda array: jax.lax.index_in_dim(array, index, keepdims=False), node)[0]

    def while_loop(self, params, inputs) -> list[Node]:
        """A loop whose number of turns is known now."""
        of_condition, of_body = params["cond_nconsts"], params["body_nconsts"]
        fixed = inputs[:of_condition], inputs[of_condition:][:of_body]
        carry = inputs[of_condition + of_body :]
        for _ in range(MOST_TURNS + 1):
            (goes_on,) = self.inner(params["cond_jaxpr"], (*fixed[0], *carry))
            if goes_on.op != "constant":
                raise Unsupported("a loop whose length depends on data")
            if not goes_on.params["value"]:
                return list(carry)
            carry = self.inner(params["body_jaxpr"], (*fixed[1], *carry))
        raise Unsupported(f"a loop of more than {MOST_TURNS} turns")

    def cond(self, params, inputs) -> list[Node]:
        """Both branches and a choice, as under vmap."""
        which, *rest = inputs
        branches = params["branches"]
        if which.op == "constant":
            return self.inner(branches[int(np.clip(which.params["value"], 0, len(branches) - 1))], rest)
        if len(branches) != 2:
            raise Unsupported("a switch between more than two branches")
        no, yes = (self.inner(branch, rest) for branch in branches)
        return [
            self.traced(lambda w, n, y: jnp.where(w != 0, y, n), which, n, y)[0]
            for n, y in zip(no, yes, strict=True)
        ]

    def fold_in(self, params, inputs) -> list[Node]:
        return self.traced(
            lambda key, number: jnp.stack(threefry.block(key, jnp.uint32(0), number.astype(jnp.uint32))),
            *inputs,
        )

    def split(self, params, inputs) -> list[Node]:
        (count,) = params["shape"] or (1,)

        def keys(key):
            return jnp.stack(
                threefry.block(key, jnp.zeros(count, jnp.uint32), jnp.arange(count, dtype=jnp.uint32)), 1
            )

        return self.traced(keys, *inputs)

    def random_bits(self, params, inputs) -> list[Node]:
        if inputs[0].shape != (2,) or params["bit_width"] not in (32, 64):
            raise Unsupported("random bits of this kind")
        shape, wide = params["shape"], params["bit_width"] == 64

        def bits(key):
            counter = jnp.arange(math.prod(shape), dtype=jnp.uint32)
            left, right = threefry.block(key, jnp.zeros_like(counter), counter)
            if wide:
                return (left.astype(jnp.uint64) << 32 | right.astype(jnp.uint64)).reshape(shape)
            return (left ^ right).reshape(shape)

        return self.traced(bits, *inputs)

    def stack(self, params, inputs) -> list[Node]:
        def stacked(*parts):
            return jax.lax.concatenate([jnp.expand_dims(p, params["axis"]) for p in parts], params["axis"])

        return self.traced(stacked, *inputs)

    def unstack(self, params, inputs) -> list[Node]:
        axis = params["axis"]
        return [
            self.traced(lambda a, i=i: jax.lax.index_in_dim(a, i, axis, keepdims=False), *inputs)[0]
            for i in range(inputs[0].shape[axis])
        ]

    def tile(self, params, inputs) -> list[Node]:
        def tiled(array):
            between = [n for pair in zip(params["reps"], array.shape, strict=True) for n in pair]
            places = tuple(range(1, 2 * array.ndim, 2))
            shape = [r * n for r, n in zip(params["reps"], array.shape, strict=True)]
            return jax.lax.reshape(jax.lax.broadcast_in_dim(array, between, places), shape)

        return self.traced(tiled, *inputs)

    def platform_index(self, params, inputs) -> list[Node]:
        fits = [names is None or "cpu" in names for names in params["platforms"]]
        return [self.literal(np.int32(fits.index(True)))]

    def parts(self, params, inputs) -> list[Node]:
        """`split` of an array into neighbouring parts."""
        edges = np.cumsum([0, *params["sizes"]])
        return [
            self.traced(
                lambda a, i=i: jax.lax.slice_in_dim(a, edges[i], edges[i + 1], axis=params["axis"]), *inputs
            )[0]
            for i in range(len(edges) - 1)
        ]

    def same(self, params, inputs) -> list[Node]:
        return list(inputs)


def _one_term(dimension_numbers, left: Node) -> bool:
    """Whether each element of a product is a single multiplication, as in an outer product."""
    return math.prod(left.shape[axis] for axis in dimension_numbers[0][0]) == 1


def _outer(left: jax.Array, right: jax.Array, dimension_numbers) -> jax.Array:
    """A product without sums as a multiplication, which can be part of another loop."""
    (over_left, over_right), (batch_left, batch_right) = dimension_numbers
    rows = [a for a in range(left.ndim) if a not in (*over_left, *batch_left)]
    columns = [a for a in range(right.ndim) if a not in (*over_right, *batch_right)]
    left = jnp.squeeze(left.transpose(*batch_left, *rows, *over_left), tuple(range(-len(over_left), 0)))
    right = jnp.squeeze(
        right.transpose(*batch_right, *columns, *over_right), tuple(range(-len(over_right), 0))
    )
    between = tuple(range(len(batch_left), len(batch_left) + len(rows)))
    return jnp.expand_dims(left, tuple(range(left.ndim, left.ndim + len(columns)))) * jnp.expand_dims(
        right, between
    )


def _hashable(params: dict) -> str:
    return repr({k: v.tobytes() if isinstance(v, np.ndarray) else v for k, v in params.items()})


WRITTEN_OUT = {
    "while": _Builder.while_loop,
    "cond": _Builder.cond,
    "random_wrap": _Builder.same,
    "random_unwrap": _Builder.same,
    "random_fold_in": _Builder.fold_in,
    "random_split": _Builder.split,
    "random_bits": _Builder.random_bits,
    "split": _Builder.parts,
    "stack": _Builder.stack,
    "unstack": _Builder.unstack,
    "tile": _Builder.tile,
    "platform_index": _Builder.platform_index,
    "optimization_barrier": _Builder.same,
    "copy": _Builder.same,
    "copy_p": _Builder.same,
    "stop_gradient": _Builder.same,
}
