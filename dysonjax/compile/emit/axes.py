"""The axes of a loop over long arrays: neighbours become one, and the longest steps are outside."""

from collections.abc import Sequence
from typing import NamedTuple

VECTORS = "#pragma omp simd"


class Axis(NamedTuple):
    """A loop, and what it goes over: axes of an array, neighbours wherever the loop reads or writes."""

    extent: int
    axes: tuple[int, ...]
    strides: tuple[int, ...]  # of every place that the loop touches


def merged(shape: Sequence[int], strides: Sequence[Sequence[int]], by: int | None = None) -> list[Axis]:
    """The axes of a loop, the longest steps outside, neighbours made one where that is the same walk.

    strides: of every place that the loop touches. by: the place whose steps decide; None: the longest of all.
    """
    along = list(zip(*strides, strict=True)) if strides else [()] * len(shape)
    axes = [Axis(n, (number,), along[number]) for number, n in enumerate(shape) if n != 1]
    axes.sort(
        key=lambda axis: -abs(axis.strides[by] if by is not None else max(axis.strides, key=abs, default=0))
    )
    result: list[Axis] = []
    for axis in axes:
        if result and all(
            a == b * axis.extent for a, b in zip(result[-1].strides, axis.strides, strict=True)
        ):
            last = result[-1]
            result[-1] = Axis(last.extent * axis.extent, (*last.axes, *axis.axes), axis.strides)
        else:
            result.append(axis)
    return result


def nested(loops: Sequence[tuple[str, int]], body: list[str], pragma: str | None) -> list[str]:
    """The body inside loops; pragma: what stands before the innermost one."""
    lines = []
    for number, (name, extent) in enumerate(loops):
        if pragma and number == len(loops) - 1:
            lines.append(pragma)
        lines.append(f"for (int {name} = 0; {name} < {extent}; {name}++) {{")
    return [*lines, *body, "}" * len(loops)] if loops else ["{", *body, "}"]
