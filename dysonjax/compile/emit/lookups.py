"""Elements at positions that a step computes, the same in all lanes or not."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dysonjax.compile.emit.expressions import c_type, reducer
from dysonjax.compile.graph import Node
from dysonjax.compile.shapes import Index, add

if TYPE_CHECKING:
    from dysonjax.compile.emit.lanes import Writer


def gathered(writer: "Writer", node: Node, index: tuple[Index, ...]) -> str:
    indices, numbers = node.inputs[1], node.params["dimension_numbers"]
    part = node.params["slice_sizes"]
    batch = [i for axis, i in enumerate(index) if axis not in numbers.offset_dims]
    starts = dict.fromkeys(range(len(part)))
    for number, axis in enumerate(numbers.start_index_map):
        starts[axis] = indices, (*batch, number)
    of_part = (index[axis] for axis in numbers.offset_dims)
    inside = [0 if axis in numbers.collapsed_slice_dims else next(of_part) for axis in range(len(part))]
    return looked_up(writer, node, list(starts.values()), part, inside)


def looked_up(writer: "Writer", node: Node, starts, part: Sequence[int], inside: Sequence[Index]) -> str:
    """The element `inside` of a part of the first operand.

    starts: for each axis what holds its first position, and the index there; None: it is 0.
    """
    operand = node.inputs[0]
    firsts = [
        0 if start is None else position(writer, *start, extent - size)
        for start, extent, size in zip(starts, operand.shape, part, strict=True)
    ]
    differs = [start is not None and start[0].varying for start in starts]
    if not any(differs):
        return writer.value(operand, tuple(map(add, inside, firsts)))
    name, lane = writer.name(), writer.name("l")
    writer.line(f"{c_type(node)} {name};")
    writer.line(f"EACH_LANE({lane}) {{")
    outside, writer.known = writer.known, dict(writer.known)
    place = (f"AT({f}, {lane})" if differ else f for f, differ in zip(firsts, differs, strict=True))
    value = writer.value(operand, tuple(map(add, inside, place)))
    if operand.varying:
        value = f"AT({value}, {lane})"
    elif operand.dtype == bool:
        value = f"-({value})"
    writer.line(f"AT({name}, {lane}) = {value};")
    writer.line("}")
    writer.known = outside
    return name


def position(writer: "Writer", node: Node, index: tuple[Index, ...], last: int) -> Index:
    """A computed position, moved to 0 ... last as JAX has it; a vector if it differs between lanes."""
    if node.op == "constant" and all(isinstance(i, int) for i in index):
        return int(np.clip(int(node.params["value"][index]), 0, last))
    key = ("position", node, index, last)
    if key not in writer.known:
        name, value, kind = writer.name(), writer.value(node, index), c_type(node)
        if node.varying:
            if node.dtype.itemsize == 1:  # whose largest number may be smaller than `last`
                kind, value = "int32_v", f"CONVERT(int32_v, {value})"
            inside = f"{kind}_min({kind}_max({value}, ZERO({kind})), ZERO({kind}) + {last})"
            writer.line(f"const {kind} {name} = {inside};")
        else:
            writer.line(f"const long {name} = {value} < 0 ? 0 : {value} > {last} ? {last} : {value};")
        writer.known[key] = name
    return writer.known[key]


def with_rows(writer: "Writer", root: Node) -> None:
    """Write the whole array, then add rows to some of its rows; those that lie outside are dropped."""
    whole, rows, places = root.inputs
    writer.nest(root.shape, lambda index: writer.put(index, writer.in_kind(whole, index, root)))
    (count, size), name = root.shape, writer.names[root]
    combine, _ = reducer(dataclasses.replace(root, varying=root.varying and not places.varying))

    def add_row(index):
        place, outside = writer.value(places, index), writer.known
        if places.varying:
            lane = writer.name("l")
            writer.line(f"EACH_LANE({lane}) {{")
            place = f"AT({place}, {lane})"
        writer.line(f"if ({place} >= 0 && {place} < {count}) {{")
        writer.known = dict(outside)
        column = writer.name("i")
        writer.line(f"for (int {column} = 0; {column} < {size}; {column}++) {{")
        target = f"{name}[(long){place} * {size} + {column}]"
        added = writer.in_kind(rows, (*index, column), root)
        if places.varying:
            target, added = f"AT({target}, {lane})", f"AT({added}, {lane})"
        writer.line(f"{target} = {combine(target, added)};")
        writer.line("}" * (3 if places.varying else 2))
        writer.known = outside

    writer.nest(places.shape, add_row)
