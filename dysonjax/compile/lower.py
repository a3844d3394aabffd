"""A jaxpr as a graph of array operations that one C function can hold.

Rules write out what the graph does not know, what depends on constants alone is computed now, equal nodes are
one node, and what no output needs is left away. Anything else raises `Unsupported`; the engine then lets XLA
compile the step.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from dysonjax.compile.graph import CONSTANT, Node, Unsupported, constant
from dysonjax.compile.operations import OF_MODELS, OPERATIONS, refusal
from dysonjax.compile.rules import ARRAYS, KEYS, STRUCTURE
from dysonjax.compile.rules.control import CALLS
from dysonjax.compile.rules.indexing import keys_at_known_places

MOST_NODES = 20_000
CLAIMED = frozenset((*OF_MODELS, *STRUCTURE, *ARRAYS)) - CALLS
LIBRARIES = frozenset(("jax", "jaxlib", "flax", "optax"))
OURS = tuple(str(Path(__file__).parents[1] / name) for name in ("compile", "ensemble"))


def lower(jaxpr: jax.extend.core.ClosedJaxpr, inputs: Sequence[Node]) -> list[Node]:
    """The nodes of the outputs. A random key among the inputs is given by its words, (..., 2) uint32."""
    return Context().inner(jaxpr, inputs)


class Context:
    """The nodes of a jaxpr, equation by equation, and what rules make them with."""

    def __init__(self):
        self.equation: Any = None  # that is being lowered
        self._known: dict[tuple, Node] = {}

    # -- for rules -------------------------------------------------------------------------------------------

    def inner(self, jaxpr, inputs: Sequence[Node]) -> list[Node]:
        """The results of a jaxpr, closed or not."""
        constants = [self.literal(value) for value in getattr(jaxpr, "consts", ())]
        return self._run(getattr(jaxpr, "jaxpr", jaxpr), constants, inputs)

    def traced(self, function: Callable, *inputs: Node) -> list[Node]:
        """The results of a function of arrays."""
        shapes = [jax.ShapeDtypeStruct(node.shape, node.dtype) for node in inputs]
        return self.inner(jax.make_jaxpr(function)(*shapes), inputs)

    def make(self, op: str, inputs: Sequence[Node], shape, dtype, params: dict) -> Node:
        """A node of the table of operations, or an equal one that was there before."""
        reason = refusal(op, inputs, np.dtype(dtype), params)
        if reason is not None:
            raise Unsupported(reason)
        scope = max((node.scope for node in inputs), default=CONSTANT)
        varying = any(node.varying for node in inputs)
        return self._shared(Node(op, tuple(inputs), tuple(shape), np.dtype(dtype), scope, varying, params))

    def made(self, op: str, inputs: Sequence[Node], shape, dtype) -> Node | None:
        """A node without parameters if it is there already."""
        return self._known.get(_key(op, inputs, shape, dtype, {}))

    def literal(self, value, dtype=None) -> Node:
        if jax.dtypes.issubdtype(getattr(value, "dtype", np.float32), jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        return self._shared(constant(np.asarray(value, dtype)))

    def now(self, *arrays, **params):
        """The result, or the results, of the primitive that is being lowered on arrays that are known."""
        primitive = self.equation.primitive
        with jax.ensure_compile_time_eval():
            found = primitive.bind(*map(jnp.asarray, arrays), **params)
        return list(map(np.asarray, found)) if primitive.multiple_results else np.asarray(found)

    # -- equations -------------------------------------------------------------------------------------------

    def _run(self, jaxpr, constants: Sequence[Node], inputs: Sequence[Node]) -> list[Node]:
        values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *inputs), strict=True))

        def read(variable):
            literal = isinstance(variable, jax.extend.core.Literal)
            return self.literal(variable.val, variable.aval.dtype) if literal else values[variable]

        for equation in jaxpr.eqns:
            try:
                outputs = self._lowered(equation, [read(variable) for variable in equation.invars])
            except Unsupported as reason:
                if not reason.where:
                    reason.where = line_of(equation)
                    reason.args = (f"{reason}{reason.where}",)
                raise
            values.update(zip(equation.outvars, outputs, strict=True))
        return [read(variable) for variable in jaxpr.outvars]

    def _lowered(self, equation, inputs: list[Node]) -> list[Node]:
        self.equation, name, params = equation, equation.primitive.name, equation.params
        rule: Any = STRUCTURE.get(name)
        if rule is None:
            if any(jax.dtypes.issubdtype(v.aval.dtype, jax.dtypes.prng_key) for v in equation.invars):
                rule = KEYS.get(name, keys_at_known_places)
            elif all(node.op == "constant" for node in inputs):
                return self._computed(equation, [node.params["value"] for node in inputs])
            else:
                rule = ARRAYS.get(name)
        found = rule(self, *inputs, **params) if rule else None
        if callable(found):
            return self.traced(found, *inputs)
        if found is not None:
            return found
        if name not in OF_MODELS:
            raise Unsupported(f"the operation {name}")
        kept = {k: params[k] for k in OPERATIONS[name].params}
        return [self.make(name, inputs, out.aval.shape, out.aval.dtype, kept) for out in equation.outvars]

    def _computed(self, equation, values: list[np.ndarray]) -> list[Node]:
        name, out = equation.primitive.name, equation.outvars[0].aval
        function = OPERATIONS[name].now if name in OPERATIONS else None
        if function is not None:  # JAX would compile a program for each of them
            params = {} if isinstance(function, np.ufunc) else equation.params
            with np.errstate(all="ignore"):
                value = function(*values, **params)
            return [self.literal(np.asarray(value, out.dtype).reshape(out.shape))]
        found = self.now(*values, **equation.params)
        return [self.literal(result) for result in (found if isinstance(found, list) else [found])]

    def _shared(self, node: Node) -> Node:
        """The node itself, or an equal one that was there before."""
        if node.op == "constant":
            value = node.params["value"]
            key = ("constant", value.shape, value.dtype.str, value.tobytes())
        else:
            key = _key(node.op, node.inputs, node.shape, node.dtype, node.params)
        if len(self._known) > MOST_NODES:
            raise Unsupported(f"more than {MOST_NODES} operations")
        return self._known.setdefault(key, node)


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
