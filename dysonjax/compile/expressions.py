"""C expressions of single operations, of one number or of one vector of networks."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from dysonjax.compile.graph import Node
from dysonjax.compile.operations import THREADS, TYPES

INFIX = {
    "add": "+",
    "add_any": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "and": "&",
    "or": "|",
    "xor": "^",
}
BITWISE = frozenset(("and", "or", "xor"))
SHIFTS = {"shift_left": "<<", "shift_right_logical": ">>", "shift_right_arithmetic": ">>"}
WHOLE = frozenset((*INFIX, *SHIFTS, "rem", "neg"))  # arithmetic that integers need to have spelled out
COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
FUNCTIONS = "rem pow floor ceil exp log log1p expm1 tanh sqrt erf erf_inv sin cos".split()
WRITTEN_OUT = 3  # exponent up to which a power is a product of equal factors


def element_type(dtype) -> str:
    """The C type of a number; truth values are kept as int32."""
    return TYPES[np.dtype(dtype).name]


def c_type(node: Node) -> str:
    return element_type(node.dtype) + ("_v" if node.varying else "_s")


def literal(value) -> str:
    value = np.asarray(value)
    if value.dtype == bool:
        return "1" if value else "0"
    kind = element_type(value.dtype) + "_s"
    if value.dtype.kind in "iu":
        if value.dtype == np.int64 and value == np.iinfo(np.int64).min:
            return f"(({kind})INT64_MIN)"  # C has no negative literals, and its absolute value is none
        return f"(({kind}){int(value)}{'u' if value.dtype.kind == 'u' else ''})"
    number = float(value)
    if math.isnan(number):
        return f"(({kind})NAN)"
    if math.isinf(number):
        return f"(({kind}){'-' if number < 0 else ''}INFINITY)"
    return number.hex() + ("f" if value.dtype == np.float32 else "")


def in_lanes(value: str, node: Node) -> str:
    """The value in every lane; a truth value becomes a mask, 0 or -1."""
    if node.varying:
        return value
    return f"TO_LANES({element_type(node.dtype)}, {f'-({value})' if node.dtype == bool else value})"


def operation(node: Node, values: Sequence[str]) -> str:
    """The expression of an elementwise operation; values: those of its inputs."""
    op, kind, inputs = node.op, c_type(node), node.inputs
    # C accepts a number where a vector is meant in arithmetic, but nowhere else.
    full = [in_lanes(v, n) if node.varying else v for v, n in zip(values, inputs, strict=True)]
    first = full[0]
    if op in ("max", "min"):
        return _extreme(node, full)
    if node.dtype.kind in "iu" and op in WHOLE:
        return _whole(node, values, full)
    if op in INFIX:
        left, right = full if node.dtype == bool else values
        return f"({left} {INFIX[op]} {right})"
    if op in COMPARISONS:
        if node.varying and inputs[0].dtype == bool:  # of masks, true is the smaller number
            full.reverse()
        return _truth(node, f"({full[0]} {COMPARISONS[op]} {full[1]})")
    if op == "pow" and _is_half(inputs[1]):
        # As in XLA; GCC makes it a plain root where it sees it in vectors.
        infinity = f"(ZERO({kind}) + ({element_type(node.dtype)}_s)INFINITY)"
        return f"{kind}_choose({first} == -{infinity}, {infinity}, {kind}_sqrt({first} + 0))"
    if op in FUNCTIONS:
        # A whole exponent comes as an integer.
        full = [_converted(node, n, v) for n, v in zip(inputs, full, strict=True)]
        return f"{kind}_{op}({', '.join(full)})"
    if op in THREADS:
        return f"{kind}_{op}({first})"
    match op:
        case "neg":
            return f"(-{first})"
        case "not":
            return f"(!{first})" if node.dtype == bool and not node.varying else f"(~{first})"
        case "square":
            return f"({first} * {first})"
        case "one_minus_square":  # in the derivative of tanh, in newer versions of JAX
            return f"((1 - {first}) * (1 + {first}))"
        case "integer_pow":
            return _power(node, first)
        case "rsqrt":
            return f"(1 / {kind}_sqrt({first}))"
        case "logistic":
            return f"(1 / (1 + {kind}_exp(-{first})))"
        case "abs":
            return f"{kind}_abs({first})"
        case "sign":
            zero, one = f"ZERO({kind})", f"(ZERO({kind}) + 1)"
            if node.dtype.kind == "u":
                return f"{kind}_choose({first} > {zero}, {one}, {zero})"
            below = f"{kind}_choose({first} < {zero}, -{one}, {first})"
            return f"{kind}_choose({first} > {zero}, {one}, {below})"
        case "round":
            return f"{kind}_round_{'even' if node.params['rounding_method'] else 'away'}({first})"
        case "is_finite":
            return _truth(node, f"(({first} - {first}) == ZERO({c_type(inputs[0])}))")
        case "clamp":
            low, x, high = inputs
            raised = dataclasses.replace(node, op="max", inputs=(low, x))
            lowered = dataclasses.replace(node, op="min", inputs=(raised, high))
            return _extreme(lowered, [_extreme(raised, full[:2]), full[2]])
        case "select_n":
            return _choice(node, values[0], full)
        case "convert_element_type":
            return _converted(node, inputs[0], first)
        case "bitcast_convert_type":
            if node.dtype == inputs[0].dtype:
                return first
            return f"{kind}_from_{element_type(inputs[0].dtype)}({first})"
    raise AssertionError(f"the operation {op}")


def reducer(root: Node) -> tuple[Callable[[str, str], str], str]:
    """How a reduction combines two values, and the value, a number, that changes nothing."""
    kind, op = c_type(root), root.op
    if op in ("reduce_sum", "add_rows"):
        if root.dtype.kind == "f" or op == "reduce_sum":
            return lambda a, b: f"({a} + {b})", "0"
        total = dataclasses.replace(root, op="add", inputs=(root, root))
        return lambda a, b: _whole(total, (a, b), (a, b)), "0"
    if op in ("reduce_or", "reduce_and"):
        sign = "|" if op == "reduce_or" else "&"
        ones = "1" if root.dtype == bool else f"(({element_type(root.dtype)}_s)-1)"
        return lambda a, b: f"({a} {sign} {b})", "0" if op == "reduce_or" else ones
    largest = op == "reduce_max"
    if root.dtype.kind == "f":
        # Of zeros any will do: which one XLA takes depends on how it puts a reduction into vectors.
        neutral = "(-INFINITY)" if largest else "INFINITY"
        return lambda a, b: f"{kind}_{'max' if largest else 'min'}({a}, {b})", neutral
    if root.dtype == bool:
        return lambda a, b: f"({a} {'|' if largest else '&'} {b})", "0" if largest else "1"
    limits = np.iinfo(root.dtype)
    neutral = literal(np.array(limits.min if largest else limits.max, root.dtype))
    return lambda a, b: f"{kind}_{'max' if largest else 'min'}({a}, {b})", neutral


def neutral_in_lanes(root: Node, neutral: str) -> str:
    """The value of `reducer` that changes nothing, as the accumulator of the reduction has it."""
    return in_lanes(neutral, dataclasses.replace(root, varying=False)) if root.varying else neutral


def _whole(node: Node, values: Sequence[str], full: Sequence[str]) -> str:
    """Arithmetic of integers as XLA has it: it wraps around, and no division or shift is undefined."""
    op, kind = node.op, c_type(node)
    unsigned = kind if node.dtype.kind == "u" else f"u{kind}"
    known = node.inputs[-1]
    if op in SHIFTS:
        count = known.params["value"] if known.op == "constant" else None
        inside = count is not None and ((count >= 0) & (count < 8 * node.dtype.itemsize)).all()
        if not inside or op == "shift_right_arithmetic" or kind.startswith("uint8"):
            return f"{kind}_{op}({full[0]}, {full[1]})"
        if kind == unsigned:
            return f"({values[0]} {SHIFTS[op]} {values[1]})"
        return f"(({kind})(({unsigned}){full[0]} {SHIFTS[op]} ({unsigned}){full[1]}))"
    if op in ("div", "rem"):
        if known.op == "constant" and not np.isin(known.params["value"], (0, -1)).any():
            left, right = (full if op == "rem" else values) if kind != "uint8_s" else full
            return f"({left} {'%' if op == 'rem' else '/'} {right})"
        return f"{kind}_{op}({full[0]}, {full[1]})"
    if op == "neg":
        return f"(({kind})(-({unsigned}){full[0]}))"
    sign = INFIX[op]
    if op in BITWISE or kind.startswith(("uint32", "uint64")):
        return f"({values[0]} {sign} {values[1]})"
    # What C would compute as an int, or leave undefined.
    return f"(({kind})(({unsigned}){full[0]} {sign} ({unsigned}){full[1]}))"


def _power(node: Node, x: str) -> str:
    """A whole power by squaring, as in JAX, so that it overflows and rounds as there."""
    kind, exponent = c_type(node), abs(node.params["y"])
    if exponent == 0:
        return f"(ZERO({kind}) + 1)"
    if node.dtype.kind in "iu":
        unsigned = kind if node.dtype.kind == "u" else f"u{kind}"
        return f"(({kind}){unsigned}_power(({unsigned}){x}, {exponent}))"
    if exponent > WRITTEN_OUT:
        power = f"{kind}_power({x}, {exponent})"
    else:
        power = f"({' * '.join([x] * exponent)})"
    return power if node.params["y"] > 0 else f"(1 / {power})"


def _is_half(node: Node) -> bool:
    return node.op == "constant" and node.dtype.kind == "f" and bool((node.params["value"] == 0.5).all())


def _extreme(node: Node, full: Sequence[str]) -> str:
    """The larger or smaller one; of two zeros the positive or negative one, as in XLA.

    The quick functions take the second of two equal numbers, which is right if that cannot be the wrong zero.
    """
    kind, op = c_type(node), node.op
    if node.dtype == bool:
        return f"({full[0]} {'|' if op == 'max' else '&'} {full[1]})"
    if node.dtype.kind != "f":
        return f"{kind}_{op}({full[0]}, {full[1]})"
    for a, b in ((0, 1), (1, 0)):
        left, right = node.inputs[a], node.inputs[b]
        if _never_zero(right, negative=op == "max") or _never_zero(left, negative=op == "min"):
            return f"{kind}_{op}({full[a]}, {full[b]})"
    return f"{kind}_{op}imum({full[0]}, {full[1]})"


def _never_zero(node: Node, negative: bool) -> bool:
    """Whether a constant is nowhere the zero of this sign."""
    if node.op != "constant":
        return False
    value = node.params["value"]
    return not ((value == 0) & (np.signbit(value) == negative)).any()


def _truth(node: Node, comparison: str) -> str:
    """A comparison of vectors has the width of what it compares; masks are kept as int32."""
    return f"TRUTH({comparison})" if node.varying else comparison


def _choice(node: Node, which: str, values: Sequence[str]) -> str:
    _, no, yes = values
    if not node.inputs[0].varying:
        return f"({which} ? {yes} : {no})"
    width = 4 if node.dtype == bool else node.dtype.itemsize
    mask = which if width == 4 else f"CONVERT(int{8 * width}_v, {which})"
    return f"{c_type(node)}_choose({mask}, {yes}, {no})"


def _converted(node: Node, old: Node, value: str) -> str:
    """`value`, in lanes if the node is, from the type of `old` to that of the node."""
    kind = c_type(node)
    if old.dtype == node.dtype:
        return value
    if node.dtype == bool:
        zero = f"ZERO({element_type(old.dtype)}{'_v' if node.varying else '_s'})"
        return _truth(node, f"({value} != {zero})")
    if old.dtype.kind == "f" and node.dtype.kind in "iu":
        return f"{kind}_of_{old.dtype.name.replace('float32', 'float').replace('float64', 'double')}({value})"
    if not node.varying:
        return f"(({kind})({value}))"
    return f"CONVERT({kind}, {f'-({value})' if old.dtype == bool else value})"
