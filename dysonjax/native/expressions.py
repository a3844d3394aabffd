"""C expressions of single operations, of one number or of one vector of networks."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from dysonjax.native.graph import Node, Unsupported

INFIX = {
    "add": "+",
    "add_any": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "and": "&",
    "or": "|",
    "xor": "^",
    "shift_left": "<<",
    "shift_right_logical": ">>",
}
COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
FUNCTIONS = "max min pow floor ceil exp log log1p expm1 tanh sqrt erf erf_inv sin cos".split()
TYPES = {"float32": "float", "float64": "double", "bool": "int32"} | {
    name: name for name in ("uint8", "int32", "uint32", "int64", "uint64")
}


def element_type(dtype) -> str:
    """The C type of a number; truth values are kept as int32."""
    name = np.dtype(dtype).name
    if name not in TYPES:
        raise Unsupported(f"numbers of type {name}")
    return TYPES[name]


def c_type(node: Node) -> str:
    return element_type(node.dtype) + ("_v" if node.lanes else "_s")


def literal(value) -> str:
    value = np.asarray(value)
    if value.dtype == bool:
        return "1" if value else "0"
    kind = element_type(value.dtype) + "_s"
    if value.dtype.kind in "iu":
        return f"(({kind}){int(value)}{'u' if value.dtype.kind == 'u' else ''})"
    number = float(value)
    if math.isnan(number):
        return f"(({kind})NAN)"
    if math.isinf(number):
        return f"(({kind}){'-' if number < 0 else ''}INFINITY)"
    return number.hex() + ("f" if value.dtype == np.float32 else "")


def in_lanes(value: str, node: Node) -> str:
    """The value in every lane; a truth value becomes a mask, 0 or -1."""
    if node.lanes:
        return value
    return f"TO_LANES({element_type(node.dtype)}, {f'-({value})' if node.dtype == bool else value})"


def operation(node: Node, values: Sequence[str]) -> str:
    """The expression of an elementwise operation; values: those of its inputs."""
    op, kind, inputs = node.op, c_type(node), node.inputs
    # C accepts a number where a vector is meant in arithmetic, but nowhere else.
    full = [in_lanes(v, n) if node.lanes else v for v, n in zip(values, inputs, strict=True)]
    first = full[0]
    if op in INFIX:
        left, right = full if node.dtype == bool else values
        return f"({left} {INFIX[op]} {right})"
    if op in COMPARISONS:
        return _truth(node, f"({first} {COMPARISONS[op]} {full[1]})")
    if op in FUNCTIONS:
        # A whole exponent comes as an integer.
        full = [_converted(node, n, v) for n, v in zip(inputs, full, strict=True)]
        return f"{kind}_{op}({', '.join(full)})"
    match op:
        case "neg":
            return f"(-{first})"
        case "not":
            return f"(!{first})" if node.dtype == bool and not node.lanes else f"(~{first})"
        case "square":
            return f"({first} * {first})"
        case "one_minus_square":  # in the derivative of tanh, in newer versions of JAX
            return f"((1 - {first}) * (1 + {first}))"
        case "integer_pow":
            exponent = node.params["y"]
            factors = " * ".join([first] * abs(exponent)) or f"(({kind}){{0}} + 1)"
            return f"({factors})" if exponent >= 0 else f"(1 / ({factors}))"
        case "rsqrt":
            return f"(1 / {kind}_sqrt({first}))"
        case "logistic":
            return f"(1 / (1 + {kind}_exp(-{first})))"
        case "abs" if node.dtype.kind == "f":
            return f"{kind}_abs({first})"
        case "abs":
            return f"{kind}_choose({first} < ({kind}){{0}}, -{first}, {first})"
        case "sign":
            zero, one = f"({kind}){{0}}", f"(({kind}){{0}} + 1)"
            below = f"{kind}_choose({first} < {zero}, -{one}, {first})"
            return f"{kind}_choose({first} > {zero}, {one}, {below})"
        case "rem":
            return f"{kind}_rem({first}, {full[1]})" if node.dtype.kind == "f" else f"({first} % {full[1]})"
        case "is_finite":
            return _truth(node, f"(({first} - {first}) == ({c_type(inputs[0])}){{0}})")
        case "clamp":
            return f"{kind}_min({kind}_max({first}, {full[1]}), {full[2]})"
        case "select_n":
            return _choice(node, values[0], full)
        case "convert_element_type":
            return _converted(node, inputs[0], first)
        case "bitcast_convert_type":
            if node.dtype.itemsize != inputs[0].dtype.itemsize:
                raise Unsupported("bits of another width")
            return f"{kind}_from_{element_type(inputs[0].dtype)}({first})"
    raise Unsupported(f"the operation {op}")


def reducer(root: Node) -> tuple[Callable[[str, str], str], str]:
    """How a reduction combines two values, and the value that changes nothing."""
    kind, op = c_type(root), root.op
    if op == "reduce_sum":
        return lambda a, b: f"({a} + {b})", "0"
    if op == "reduce_or":
        return lambda a, b: f"({a} | {b})", "0"
    if op == "reduce_and":
        return lambda a, b: f"({a} & {b})", "-1"
    if root.dtype.kind != "f":
        raise Unsupported(f"{op} of integers")
    neutral = "(-INFINITY)" if op == "reduce_max" else "INFINITY"
    return lambda a, b: f"{kind}_{op.removeprefix('reduce_')}({a}, {b})", neutral


def _truth(node: Node, comparison: str) -> str:
    """A comparison of vectors has the width of what it compares; masks are kept as int32."""
    return f"CONVERT(int32_v, {comparison})" if node.lanes else comparison


def _choice(node: Node, which: str, values: Sequence[str]) -> str:
    condition = node.inputs[0]
    if condition.dtype != bool or len(values) != 3:
        raise Unsupported("a choice between more than two values")
    _, no, yes = values
    if not condition.lanes:
        return f"({which} ? {yes} : {no})"
    mask = f"CONVERT(int64_v, {which})" if node.dtype.itemsize == 8 else which
    return f"{c_type(node)}_choose({mask}, {yes}, {no})"


def _converted(node: Node, old: Node, value: str) -> str:
    """`value`, in lanes if the node is, from the type of `old` to that of the node."""
    kind = c_type(node)
    if old.dtype == node.dtype:
        return value
    if node.dtype == bool:
        zero = f"({element_type(old.dtype)}{'_v' if node.lanes else '_s'}){{0}}"
        return _truth(node, f"({value} != {zero})")
    if not node.lanes:
        return f"(({kind})({value}))"
    return f"CONVERT({kind}, {f'-({value})' if old.dtype == bool else value})"
