"""Reductions of long arrays: row by row, or as many rows at a time as a vector has numbers, see rows.h."""

from collections.abc import Sequence

from dysonjax.compile.emit.axes import VECTORS, Axis, merged, nested
from dysonjax.compile.emit.functions import FunctionWriter
from dysonjax.compile.expressions import c_type, reducer
from dysonjax.compile.graph import Node

HOW = {"reduce_sum": "+", "reduce_or": "|", "reduce_and": "&", "reduce_max": "max", "reduce_min": "min"}
FEW = 8  # rows, or numbers in a row, up to which a sum is taken row by row


def write_reduction(writer: FunctionWriter, root: Node) -> None:
    """The loops of a reduction, the longest steps outside."""
    (operand,), axes = root.inputs, root.params["axes"]

    def element(index) -> tuple[str, str]:
        """Where the result of an element is, and the element."""
        kept = tuple(i for axis, i in enumerate(index) if axis not in axes)
        into = writer.read(root, writer.place(root, kept))
        return into, writer.value(operand, index)

    def write():
        loops = merged(operand.shape, writer.touched(operand.shape, element))
        index, names = writer.walk(operand.shape, loops)
        outside, writer.lines = writer.lines, []
        into, value = element(index)
        inside, writer.lines = writer.lines, outside
        writer.lines += _reduction(root, loops, names, inside, into, value)

    writer.function(write)


def _reduction(
    root: Node,
    axes: Sequence[Axis],
    loops: Sequence[tuple[str, int]],
    inside: list[str],
    into: str,
    value: str,
) -> list[str]:
    kind = c_type(root)
    combine, neutral = reducer(root)
    kept = [loop for loop, axis in zip(loops, axes, strict=True) if axis.strides[0]]
    lines = nested(kept, [f"{into} = {neutral};"], VECTORS)
    if not loops or loops[-1] in kept:
        return lines + nested(loops, [*inside, f"{into} = {combine(into, value)};"], VECTORS)
    *outside, along = loops
    row = outside.pop() if outside and outside[-1] in kept else ("row", 1)
    extreme = root.op in ("reduce_max", "reduce_min")
    if root.dtype.kind == "f" and (extreme or min(row[1], along[1]) >= FEW):
        return lines + nested(outside, _squares(root, row, along, inside, into, value), None)
    how = HOW[root.op]
    if root.dtype == bool and extreme:
        how = "|" if root.op == "reduce_max" else "&"
    taken = [*inside, f"sum = {combine('sum', value)};"]
    one = [
        f"{kind} sum = {neutral};",
        *nested([along], taken, f"{VECTORS} reduction({how} : sum)"),
        f"{into} = {combine(into, 'sum')};",
    ]
    return lines + nested(loops[:-1], one, None)


def _squares(
    root: Node, row: tuple[str, int], along: tuple[str, int], inside: list[str], into: str, value: str
) -> list[str]:
    """The reduction of rows, as many at a time as a vector has numbers, see `rows.h`."""
    kind, (combine, neutral) = c_type(root), reducer(root)
    (name, rows), (at, count) = row, along
    wide, how = f"{kind}_wide", root.op.removeprefix("reduce_")

    def numbers(first: str, count: str, line: str) -> list[str]:
        return [VECTORS, f"for (int l = 0; l < {count}; l++) {{", f"const int {at} = {first} + l;", line, "}"]

    taken = "\n".join([*inside, f"square[q][l] = {combine('square[q][l]', value)};"])
    result = combine(into, f"all[{name} - first]")
    return [
        f"for (int first = 0; first < {rows}; first += {wide}) {{",
        f"const int rows = {rows} - first < {wide} ? {rows} - first : {wide};",
        f"{kind} square[{wide}][{wide}], all[{wide}];",
        "for (int q = 0; q < rows; q++) {",
        f"const int {name} = first + q;",
        VECTORS,
        f"for (int l = 0; l < {wide}; l++) square[q][l] = {neutral};",
        f"for (int k = 0; k + {wide} <= {count}; k += {wide}) {{",
        *numbers("k", wide, taken),
        "}",
        *numbers(f"{count} / {wide} * {wide}", f"{count} % {wide}", taken),
        "}",
        f"{kind}_row_{how}(all, square);",
        f"for (int {name} = first; {name} < first + rows; {name}++) {into} = {result};",
        "}",
    ]
