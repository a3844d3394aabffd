"""A jaxpr as a graph of array operations that one C function can hold.

Calls, scans and random-key operations are written out, what depends on constants alone is computed now, equal
nodes are one node, and what no output needs is left away. Anything else raises `Unsupported`; the engine then
lets XLA compile the step.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from dysonjax.compile.graph import CONSTANT, Node, Unsupported, constant
from dysonjax.compile.operations import CALLS, KNOWN, OPERATIONS, refusal
from dysonjax.compile.rules.control import WRITTEN_OUT, scan
from dysonjax.compile.rules.positions import gather, keys_moved, moved, scatter_add

MOST_NODES = 20_000
CLAIMED = frozenset((*OPERATIONS, *WRITTEN_OUT, "scan", "scatter", "scatter-add"))  # calls are none
LIBRARIES = frozenset(("jax", "jaxlib", "flax", "optax"))
OURS = tuple(str(Path(__file__).parents[1] / name) for name in ("compile", "ensemble"))


def lower(jaxpr: jax.extend.core.ClosedJaxpr, inputs: Sequence[Node]) -> list[Node]:
    """The nodes of the outputs. A random key among the inputs is given by its words, (..., 2) uint32."""
    return Builder().closed(jaxpr, inputs)


class Builder:
    """The nodes of a jaxpr, equation by equation."""

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
            try:
                outputs = self.equation(equation, [read(variable) for variable in equation.invars])
            except Unsupported as reason:
                if not reason.where:
                    reason.where = line_of(equation)
                    reason.args = (f"{reason}{reason.where}",)
                raise
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
            key = _key(node.op, node.inputs, node.shape, node.dtype, node.params)
        if len(self.known) > MOST_NODES:
            raise Unsupported(f"more than {MOST_NODES} operations")
        return self.known.setdefault(key, node)

    def equation(self, equation, inputs: list[Node]) -> list[Node]:
        name, params = equation.primitive.name, equation.params
        if name == "scan":
            return scan(self, equation, inputs)
        if name in WRITTEN_OUT:
            return WRITTEN_OUT[name](self, params, inputs)
        if name in CALLS:
            names = ("jaxpr", "call_jaxpr", "fun_jaxpr", "call")
            (jaxpr,) = (params[name] for name in names if name in params)
            return self.inner(jaxpr, inputs)
        if any(jax.dtypes.issubdtype(v.aval.dtype, jax.dtypes.prng_key) for v in equation.invars):
            return keys_moved(self, equation, inputs)
        if all(node.op == "constant" for node in inputs):
            return self.computed(equation, inputs)
        if name in ("gather", "scatter") and inputs[1].op == "constant":
            return moved(self, equation, inputs)
        if name == "gather":
            return gather(self, params, inputs)
        if name == "scatter-add":
            return scatter_add(self, params, inputs)
        if name == "dot_general":
            dtype = equation.outvars[0].aval.dtype
            if _one_term(params["dimension_numbers"], inputs[0]) and dtype.kind == "f":
                inputs = [self.traced(lambda a: a.astype(dtype), node)[0] for node in inputs]
                return self.traced(lambda a, b: _outer(a, b, params["dimension_numbers"]), *inputs)
            if any(node.dtype != dtype for node in inputs) or dtype.kind != "f":
                return self.traced(lambda a, b: _product(a, b, params["dimension_numbers"], dtype), *inputs)
        if name == "reduce_sum" and inputs[0].dtype in (np.int32, np.int64, np.uint8):
            return self.traced(lambda a: _sum(a, params["axes"]), *inputs)
        if name == "select_n" and inputs[0].dtype != bool:
            return self.traced(_chosen, *inputs)
        if name not in OPERATIONS:
            raise Unsupported(f"the operation {name}")
        return [
            self.make(name, inputs, out.aval.shape, out.aval.dtype, {k: params[k] for k in OPERATIONS[name]})
            for out in equation.outvars
        ]

    def make(self, op, inputs, shape, dtype, params) -> Node:
        if op == "integer_pow" and params["y"] in (1, 2):
            # Moments are taken as powers; these two cost less than keeping them.
            return inputs[0] if params["y"] == 1 else self.make("mul", 2 * list(inputs), shape, dtype, {})
        if op == "gt":
            # Where x is above z, max(x, z) is, and if that is there, x itself need not be kept.
            x, _ = inputs
            inputs = [self.known.get(_key("max", inputs, x.shape, x.dtype, {}), x), inputs[1]]
        reason = refusal(op, inputs, np.dtype(dtype), params)
        if reason is not None:
            raise Unsupported(reason)
        level = max((node.scope for node in inputs), default=CONSTANT)
        lanes = any(node.varying for node in inputs)
        return self.shared(Node(op, tuple(inputs), tuple(shape), np.dtype(dtype), level, lanes, params))

    def computed(self, equation, inputs) -> list[Node]:
        name, out = equation.primitive.name, equation.outvars[0].aval
        if name in KNOWN:  # JAX would compile a program for each of them
            params = {} if isinstance(KNOWN[name], np.ufunc) else equation.params
            with np.errstate(all="ignore"):
                value = KNOWN[name](*(node.params["value"] for node in inputs), **params)
            return [self.literal(np.asarray(value, out.dtype).reshape(out.shape))]
        with jax.ensure_compile_time_eval():
            arrays = [jnp.asarray(node.params["value"]) for node in inputs]
            results = equation.primitive.bind(*arrays, **equation.params)
        results = results if equation.primitive.multiple_results else [results]
        return [self.literal(np.asarray(result)) for result in results]

    def inner(self, jaxpr, inputs) -> list[Node]:
        if hasattr(jaxpr, "jaxpr"):
            return self.closed(jaxpr, inputs)
        return self.run(jaxpr, [], inputs)

    def traced(self, function, *inputs: Node) -> list[Node]:
        """A function of arrays, written out for these inputs."""
        shapes = [jax.ShapeDtypeStruct(node.shape, node.dtype) for node in inputs]
        return self.closed(jax.make_jaxpr(function)(*shapes), inputs)


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


def _product(left: jax.Array, right: jax.Array, dimension_numbers, dtype) -> jax.Array:
    """A product of integers or truth values, or of numbers that are to become others first."""
    if dtype.kind == "b":
        return _product(left, right, dimension_numbers, np.dtype(np.int32)) > 0
    left, right = left.astype(dtype), right.astype(dtype)
    if dtype.kind == "f":
        return jax.lax.dot_general(left, right, dimension_numbers)
    (over_left, over_right), (batch_left, batch_right) = dimension_numbers
    rows = [a for a in range(left.ndim) if a not in (*over_left, *batch_left)]
    columns = [a for a in range(right.ndim) if a not in (*over_right, *batch_right)]
    left = left.transpose(*batch_left, *rows, *over_left)
    right = right.transpose(*batch_right, *columns, *over_right)
    first, last = len(batch_left), len(batch_left) + len(rows)
    left = jnp.expand_dims(left, tuple(range(last, last + len(columns))))
    right = jnp.expand_dims(right, tuple(range(first, last)))
    terms = range(last + len(columns), left.ndim)
    return jnp.sum(left * right, axis=tuple(terms), dtype=dtype)


def _sum(array: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """A sum of integers by one of unsigned ones, which may wrap around in C.

    GCC 12 makes wrong code of loops whose sums are converted to and fro.
    """
    if array.dtype == np.uint8:
        return jax.lax.reduce_sum(array.astype(np.uint32), axes).astype(np.uint8)
    unsigned = np.uint32 if array.dtype == np.int32 else np.uint64
    total = jax.lax.reduce_sum(jax.lax.bitcast_convert_type(array, unsigned), axes)
    return jax.lax.bitcast_convert_type(total, array.dtype)


def _chosen(which: jax.Array, *cases: jax.Array, first: int = 0) -> jax.Array:
    """A choice among several by halves; what lies outside takes the nearest."""
    if len(cases) == 1:
        return cases[0]
    half = len(cases) // 2
    low = _chosen(which, *cases[:half], first=first)
    high = _chosen(which, *cases[half:], first=first + half)
    return jax.lax.select_n(jnp.broadcast_to(which < first + half, low.shape), high, low)


def line_of(equation) -> str:
    """Where a model asked for an operation: ", in line 12 of model.py"; nothing if that is not known."""
    traceback = getattr(equation.source_info, "traceback", None)
    for frame in () if traceback is None else traceback.frames:
        file = Path(frame.file_name)
        if not LIBRARIES & set(file.parts) and not frame.file_name.startswith(("<frozen", *OURS)):
            return f", in line {frame.line_num} of {file.name}"
    return ""


def _key(op: str, inputs: Sequence[Node], shape, dtype, params: dict) -> tuple:
    """What two equal nodes have in common."""
    operands = [id(operand) for operand in inputs]
    operands = sorted(operands) if op in ("add", "add_any", "mul") else operands
    return op, tuple(operands), tuple(shape), np.dtype(dtype).str, _hashable(params)


def _hashable(params: dict) -> str:
    return repr({k: v.tobytes() if isinstance(v, np.ndarray) else v for k, v in params.items()})
