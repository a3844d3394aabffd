"""Where elements lie: indices that are numbers, or sums of multiples of loop variables.

An index stays exact through views, reshapes and strides, so that what a loop reads can be compared, merged
with its neighbours and written as text whenever that is wanted. A quotient or a remainder that cannot be
worked out stays in the sum as what it is, and the two become one again where a place in memory is made of
them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from dysonjax.compile.graph import Node

# Reading an array in another order; the views beside these depend on data or on tables.
STRIDED = frozenset("broadcast_in_dim reshape squeeze expand_dims transpose slice rev".split())


class Variable(NamedTuple):
    """An integer of the C source, from 0 to `most`: of a loop, or a position that is computed."""

    name: str
    most: int

    def __str__(self) -> str:
        return self.name


class Part(NamedTuple):
    """The quotient or the remainder of an index by a number."""

    index: "Affine"  # type: ignore[assignment]  # hides `tuple.index`, which nobody needs
    by: int
    sign: str  # as in C: "/" or "%"

    @property
    def most(self) -> int:
        largest = bounds(self.index)[1]
        return largest // self.by if self.sign == "/" else min(self.by - 1, largest)

    def __str__(self) -> str:
        return f"({self.index}) {self.sign} {self.by}"


class Affine(NamedTuple):
    """A sum of multiples, and a number; never of nothing but a number, which is an int."""

    terms: frozenset[tuple[Variable | Part, int]]
    number: int

    def __str__(self) -> str:
        """In C; the order is that of the names, so that equal sums are equal texts."""
        parts = sorted((str(term), isinstance(term, Part), factor) for term, factor in self.terms)
        texts = [
            (f"({text})" if split else text) + (f" * {factor}" if factor != 1 else "")
            for text, split, factor in parts
        ]
        return " + ".join([*texts, *([str(self.number)] if self.number else [])])


Index = int | Affine


def variable(name: str, most: int) -> Index:
    """An integer of the C source from 0 to `most`; it need not be looked at if that is 0."""
    return Affine(frozenset(((Variable(name, most), 1),)), 0) if most > 0 else 0


def bounds(index: Index) -> tuple[int, int]:
    """The smallest and the largest value that an index can have."""
    if isinstance(index, int):
        return index, index
    reaches = [factor * term.most for term, factor in index.terms]
    return index.number + sum(min(r, 0) for r in reaches), index.number + sum(max(r, 0) for r in reaches)


def add(a: Index, b: Index) -> Index:
    if not isinstance(b, Affine):
        return a._replace(number=a.number + int(b)) if isinstance(a, Affine) else int(a + b)
    if not isinstance(a, Affine):
        return b._replace(number=int(a) + b.number)
    factors = dict(a.terms)
    for term, factor in b.terms:
        factors[term] = factors.get(term, 0) + factor
    return _sum(factors, a.number + b.number)


def times(a: Index, n: int) -> Index:
    if n == 0:
        return 0
    if not isinstance(a, Affine):
        return int(a * n)
    n = int(n)
    return a if n == 1 else Affine(frozenset((term, factor * n) for term, factor in a.terms), a.number * n)


def _sum(factors: dict[Variable | Part, int], number: int) -> Index:
    """The sum, with quotients and remainders of the same division put together again."""
    for term in [t for t in factors if isinstance(t, Part) and t.sign == "%"]:
        quotient, factor = Part(term.index, term.by, "/"), factors.get(term, 0)
        if factor and factors.get(quotient) == factor * term.by:
            del factors[term], factors[quotient]
            whole = times(term.index, factor)
            return add(_sum(factors, number), whole)
    terms = frozenset((term, factor) for term, factor in factors.items() if factor)
    return Affine(terms, number) if terms else number


def divided(index: Index, by: int) -> tuple[Index, Index]:
    """Quotient and remainder of an index that is never negative."""
    if isinstance(index, int):
        return divmod(index, by)
    number, rest_number = divmod(index.number, by)
    whole = {term: factor // by for term, factor in index.terms if factor % by == 0}
    rest = _sum({term: factor for term, factor in index.terms if factor % by}, rest_number)
    smallest, largest = bounds(rest)
    if smallest < 0:
        return _split(index, by)
    quotient = _sum(whole, number)
    if largest < by:
        return quotient, rest
    assert isinstance(rest, Affine), "a number lies below the divisor"
    more, rest = _split(rest, by)
    return add(quotient, more), rest


def _split(index: Affine, by: int) -> tuple[Index, Index]:
    def of(part: Part) -> Index:
        return Affine(frozenset(((part, 1),)), 0) if part.most else 0

    return of(Part(index, by, "/")), of(Part(index, by, "%"))


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Of an array in memory, rows first."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def flat(index: Sequence[Index], shape: Sequence[int]) -> Index:
    """The position in memory, rows first."""
    return dot(index, strides_of(shape))


def dot(index: Sequence[Index], strides: Sequence[int]) -> Index:
    place: Index = 0
    for position, stride in zip(index, strides, strict=True):
        place = add(place, times(position, stride))
    return place


def unflatten(place: Index, shape: Sequence[int]) -> tuple[Index, ...]:
    """The inverse of `flat`."""
    index = []
    for extent in reversed(shape[1:]):
        place, last = divided(place, extent) if extent > 1 else (place, 0)
        index.append(last)
    return (place, *reversed(index)) if shape else ()


def affine(place: Index) -> bool:
    """Whether a place is a sum of multiples of variables alone."""
    return isinstance(place, int) or not any(isinstance(term, Part) for term, _ in place.terms)


def stride(place: Index, along: Index) -> int:
    """By how much a place moves with a loop variable."""
    if isinstance(place, int) or isinstance(along, int):
        return 0
    ((wanted, _),) = along.terms
    return dict(place.terms).get(wanted, 0)


def through(view: Node, index: Sequence[Index]) -> tuple[Index, ...]:
    """Where the element of a strided view comes from."""
    shape, params = view.inputs[0].shape, view.params
    match view.op:
        case "broadcast_in_dim":
            places = params["broadcast_dimensions"]
            return tuple(0 if n == 1 else index[p] for n, p in zip(shape, places, strict=True))
        case "transpose":
            moved: list[Index] = [0] * len(shape)
            for here, there in enumerate(params["permutation"]):
                moved[there] = index[here]
            return tuple(moved)
        case "slice":
            strides = params["strides"] or (1,) * len(shape)
            starts = params["start_indices"]
            return tuple(add(times(i, s), o) for i, s, o in zip(index, strides, starts, strict=True))
        case "rev":
            turned = params["dimensions"]
            return tuple(
                add(times(i, -1), n - 1) if axis in turned else i
                for axis, (i, n) in enumerate(zip(index, shape, strict=True))
            )
    return unflatten(flat(index, view.shape), shape)
