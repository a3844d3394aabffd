"""Index arithmetic for the C source: numbers are computed now, names of loop variables are kept as text."""

import math
from collections.abc import Sequence

Index = int | str


def add(a: Index, b: Index) -> Index:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if a == 0 or b == 0:
        return b if a == 0 else a
    return f"({a} + {b})"


def times(a: Index, b: int) -> Index:
    if isinstance(a, int):
        return a * b
    return a if b == 1 else f"({a} * {b})"


def flat(index: Sequence[Index], shape: Sequence[int]) -> Index:
    """The position in memory, rows first."""
    place: Index = 0
    for position, extent in zip(index, shape, strict=True):
        place = add(times(place, extent), position)
    return place


def unflatten(place: Index, shape: Sequence[int]) -> tuple[Index, ...]:
    index, left = [], math.prod(shape)
    for extent in shape:
        left //= max(extent, 1)
        if extent == 1:
            index.append(0)
        elif isinstance(place, int):
            index.append(place // left % extent)
        else:
            quotient = place if left == 1 else f"({place} / {left})"
            first = all(i == 0 for i in index)  # nothing in front that it has to be taken off
            index.append(
                quotient if first and left * extent == math.prod(shape) else f"({quotient} % {extent})"
            )
    return tuple(index)


def through_reshape(index: Sequence[Index], shape: Sequence[int], before: Sequence[int]) -> tuple[Index, ...]:
    """The index before a reshape from `before` to `shape`, axis by axis as far as the axes agree."""
    if math.prod(shape) != math.prod(before):
        raise ValueError(f"{before} cannot become {shape}")
    found: list[Index] = []
    i = j = 0
    while i < len(shape) or j < len(before):
        # The smallest groups of neighbouring axes with the same number of elements.
        rows, columns = [i] if i < len(shape) else [], [j] if j < len(before) else []
        while (a := math.prod(shape[r] for r in rows)) != (b := math.prod(before[c] for c in columns)):
            if a < b:
                rows.append(rows[-1] + 1 if rows else i)
            else:
                columns.append(columns[-1] + 1 if columns else j)
        place = flat([index[r] for r in rows], [shape[r] for r in rows])
        found.extend([place] if len(columns) == 1 else unflatten(place, [before[c] for c in columns]))
        i, j = i + len(rows), j + len(columns)
    return tuple(found)
