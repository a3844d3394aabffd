"""Which axis holds the members: one adapter that every statistic of levels wears.

Levels come as plain arrays (..., members, modes), with `member_axis=` where the members stand elsewhere, as
in `Path.levels` (members, records, levels), or as an `xarray.DataArray`, whose dimensions have names: the
members are `seed` or `member`, the levels `mode`. All other dimensions, `record` among them, are leading
axes: each entry has an estimate of its own, and none is resampled. A record is the same network at a later
time and no further member. Labelled levels give labelled results.

A statistic is written for plain arrays (..., members, modes) and decorated with `of_members`.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import xarray as xr

from dysonjax.checks import InputError, one_of
from dysonjax.spectra.batching import fields_of, stacked

MEMBERS = ("seed", "member")
MODES = ("mode", "level", "spacing", "ratio")  # besides `mode_w0`, … of a run with matrices of several sizes
MODE = "mode"  # in `trailing`: the name that this dimension has in the levels given
POLICIES = ("raise", "propagate", "omit")
OWN = ("member_axis", "nan_policy")  # arguments of `of_members`, not of the statistic
F = TypeVar("F", bound=Callable[..., Any])


class Ensemble(NamedTuple):
    """Levels with the members next to last, and what is needed to label what comes out."""

    values: np.ndarray  # (..., members, modes)
    array: xr.DataArray | None  # the same with its dimensions in that order; None for plain levels
    order: Callable[[Any], Any]  # puts the axes of something of the same shape back where they were

    @property
    def lead(self) -> tuple[int, ...]:
        return self.values.shape[:-2]


class Axes(NamedTuple):
    """The dimensions of one field of a result: `before`, then the leading ones (if `lead`), then `after`."""

    after: tuple[str, ...] = (MODE,)
    before: tuple[str, ...] = ()
    lead: bool = True


def of_members(
    samples: int = 1, *, min_members: int = 1, trailing: tuple[str, ...] = (MODE,),
    axes: Mapping[str, Axes] | None = None, coordinates: Mapping[str, Callable] | None = None,
    keeps: str | None = None, alone: bool = False, masks: bool = False, along: tuple[str, ...] = (),
    one_axis: str = "members",
) -> Callable[[F], F]:  # fmt: skip
    """A statistic of plain arrays (..., members, modes), made to take any axis, labels and NaN.

    The decorated function names `member_axis` (a number, or a name for labelled levels) and `nan_policy`, so
    that editors and type checkers know them, and is called without them:
    "raise" refuses NaN (the default), "propagate" gives NaN wherever one went in, "omit" leaves out whole
    members that hold a NaN, such as networks that diverged. A leading point with fewer than `min_members`
    members left is NaN; if no point has enough, an InputError says so.

    samples: how many of the first arguments are levels. trailing: dimensions of a result after the leading
    ones, as many as it has. axes: fields of a record that differ from that. coordinates: of these
    dimensions, from (result, arguments). keeps: the result has the members' axis, and this name for its last
    one. alone: no member's result depends on another's. masks: the function takes masked arrays, whose
    masked members are missing. along: arguments that go with the leading axes. one_axis: what a plain array
    of one axis holds, `members` of one level each or the `modes` of one member.
    """

    def decorate(function: F) -> F:
        whole = inspect.signature(function)
        signature = whole.replace(parameters=[p for n, p in whole.parameters.items() if n not in OWN])
        names = list(signature.parameters)[:samples]

        @functools.wraps(function)
        def statistic(
            *args: Any, member_axis: int | str | None = None, nan_policy: str = "raise", **kwargs: Any
        ) -> Any:
            one_of("nan_policy", nan_policy, POLICIES)
            bound = signature.bind(*args, **kwargs)
            arguments = bound.arguments
            given = [arguments[name] for name in names]
            labelled = any(isinstance(x, (xr.DataArray, xr.Dataset)) for x in given)
            if not labelled and member_axis is None and nan_policy == "raise":
                return function(*bound.args, **bound.kwargs)
            least = 0 if alone else min_members
            ensembles = [
                ensemble(name, x, member_axis, least, one_axis) for name, x in zip(names, given, strict=True)
            ]
            ensembles = _together(names, ensembles) if labelled else ensembles
            first = ensembles[0]
            rest = {name: value for name, value in arguments.items() if name not in names}
            for name in along:
                if isinstance(rest.get(name), xr.DataArray):
                    rest[name] = _along(name, rest[name], first)

            def call(*values, at=()):
                own = {n: _at(rest[n], at, first.lead) for n in along if rest.get(n) is not None}
                call_with = signature.bind(*values, **(rest | own))
                return function(*call_with.args, **call_with.kwargs)

            if keeps is None:
                result = _over_points(call, ensembles, nan_policy, min_members, masks)
            else:
                result = _kept(call, first, nan_policy, min_members, alone)
            if keeps is not None:
                return first.order(_labelled_like(result, first, keeps))
            if first.array is None:
                return result
            named = {name: rule(result, arguments) for name, rule in (coordinates or {}).items()}
            return _labelled(result, first, trailing, axes or {}, named)

        made: Any = statistic
        return made

    return decorate


def ensemble(
    name: str, x: Any, member_axis: int | str | None = None, min_members: int = 1, one_axis: str = "members"
) -> Ensemble:
    """`x` with its members next to last and its levels last, whatever it was given as."""
    if isinstance(x, xr.Dataset):
        raise InputError(
            f'{name} must be one array: choose a variable of the dataset, as in dataset["eigenvalues"]'
        )
    if isinstance(x, xr.DataArray):
        return _of_labelled(name, x, member_axis, min_members)
    try:
        x = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be an array of real numbers, got {type(x).__name__}") from None
    if isinstance(member_axis, str):
        raise InputError(f"member_axis must be a number for a plain array, got {member_axis!r}")
    if x.ndim < 2:
        if one_axis == "modes" and member_axis is None:
            return Ensemble(np.atleast_2d(x), None, lambda result: result[0])
        return Ensemble(np.atleast_1d(x)[:, None], None, lambda result: result[:, 0])
    axis = -2 if member_axis is None else member_axis
    if not -x.ndim <= axis < x.ndim:
        raise InputError(f"member_axis must be an axis of {name}, shape {x.shape}, got {member_axis}")
    if axis in (-1, x.ndim - 1):
        raise InputError(
            f"member_axis of {name} must not be its last axis, shape {x.shape}: that one holds the levels"
        )
    return Ensemble(np.moveaxis(x, axis, -2), None, lambda result: np.moveaxis(result, -2, axis))


def _of_labelled(name: str, x: xr.DataArray, member_axis, min_members: int) -> Ensemble:
    original = x.dims
    modes = [dim for dim in x.dims if dim in MODES or str(dim).startswith("mode_")]
    if len(modes) > 1:
        raise InputError(f"{name} has several dimensions of levels, {', '.join(map(str, modes))}: select one")
    if member_axis is not None:
        if member_axis not in x.dims:
            raise InputError(
                f"member_axis must name a dimension of {name}, {_listed(x)}, got {member_axis!r}"
            )
        if member_axis == "record":
            raise InputError(
                f"the records of {name} are one network at several times and must not be taken for members: "
                f"name the dimension of the independent members, or leave member_axis out"
            )
        members = [member_axis]
    else:
        members = [dim for dim in MEMBERS if dim in x.dims]
    if len(members) > 1:
        raise InputError(f"{name} has the dimensions seed and member: say which by member_axis=")
    if not members:
        if min_members > 1:
            why = "its records are one network at several times; " if "record" in x.dims else ""
            raise InputError(
                f"{name} has no dimension `seed` or `member` to take its members from, it has {_listed(x)}: "
                f"{why}name the members' dimension by member_axis="
            )
        members = ["member"]
        x = x.expand_dims("member", axis=-1)
    if not modes:
        modes = [MODE]
        x = x.expand_dims(MODE, axis=-1)
    x = x.transpose(..., members[0], modes[0])
    try:
        values = np.asarray(x.values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be an array of real numbers, got {x.dtype}") from None

    def order(result: xr.DataArray) -> xr.DataArray:
        for dim in (members[0], modes[0]):
            if dim not in original and dim in result.dims:
                result = result.isel({dim: 0}, drop=True)
        last = result.dims[-1]
        wanted = [last if dim == modes[0] else dim for dim in original]
        return result.transpose(*(dim for dim in wanted if dim in result.dims))

    return Ensemble(values, x, order)


def _listed(x: xr.DataArray) -> str:
    return f"dimensions ({', '.join(map(str, x.dims))})" if x.dims else "no dimensions"


def _together(names: list[str], given: list[Ensemble]) -> list[Ensemble]:
    """Samples with the same leading dimensions, by name; one that lacks a dimension goes with every entry."""
    if len(given) == 1:
        return given
    arrays = [e.array for e in given if e.array is not None]
    sizes: dict = {}
    for array in arrays:
        for dim in array.dims[:-2]:
            size, index = sizes.setdefault(dim, (array.sizes[dim], array.indexes.get(dim)))
            other = array.indexes.get(dim)
            differs = index is not None and other is not None and not index.equals(other)
            if array.sizes[dim] != size or differs:
                raise InputError(f"{' and '.join(names)} differ along {dim}: select the same entries of both")
    lead = tuple(size for size, _ in sizes.values())
    coords: dict = {}
    for array in reversed(arrays):
        own = array.dims[-2:]
        coords |= {n: c for n, c in array.coords.items() if not set(c.dims) & set(own)}
    coords = {n: c for n, c in coords.items() if set(c.dims) <= set(sizes)}
    result = []
    for name, e in zip(names, given, strict=True):
        if e.array is None:
            if e.lead not in ((), lead):
                raise InputError(f"{name} has leading axes of shape {e.lead}, the labelled levels {lead}")
            values = np.broadcast_to(e.values, lead + e.values.shape[-2:])
            # Labels of members and modes are not those of the other sample.
            array = xr.DataArray(values, dims=(*sizes, "member", MODE), coords=coords)
        else:
            missing = {dim: size for dim, (size, _) in sizes.items() if dim not in e.array.dims}
            array = e.array.drop_vars([n for n in e.array.coords if n in coords], errors="ignore")
            array = array.expand_dims(missing).transpose(*sizes, *e.array.dims[-2:]).assign_coords(coords)
        result.append(Ensemble(np.asarray(array.values, dtype=np.float64), array, e.order))
    return result


def _along(name: str, value: xr.DataArray, first: Ensemble) -> np.ndarray:
    """A labelled argument as an array over the leading axes."""
    dims = () if first.array is None else first.array.dims[:-2]
    if extra := [str(dim) for dim in value.dims if dim not in dims]:
        raise InputError(f"{name} has the dimension {extra[0]}, which is no leading dimension of the levels")
    missing = [dim for dim in dims if dim not in value.dims]
    return value.expand_dims(missing).transpose(*dims).values


def _at(value, at: tuple[int, ...], lead: tuple[int, ...]):
    """The part of a leading-axes argument that belongs to one point."""
    return np.broadcast_to(np.asarray(value), lead)[at] if at else value


def _enough(dead: list[np.ndarray], least: int) -> bool:
    return all(np.count_nonzero(~d) >= least for d in dead)


def _over_points(call, ensembles: list[Ensemble], policy: str, least: int, masks: bool):
    """The statistic of the members that count, point by point where these differ."""
    values = [e.values for e in ensembles]
    lead = values[0].shape[:-2]
    if policy == "raise":
        return call(*values)
    dead = [np.isnan(v).any(axis=-1) for v in values]  # (..., members)
    if not any(d.any() for d in dead):
        return call(*values)
    if policy == "propagate":
        # A point with a NaN has none but NaN to give: as if all its members were missing.
        lost = functools.reduce(np.logical_or, [d.any(axis=-1) for d in dead])
        dead = [np.broadcast_to(lost[..., None], d.shape) for d in dead]
    points = list(np.ndindex(lead)) if lead else [()]
    whole = [_enough([d[at] for d in dead], least) for at in points]
    if policy == "omit" and not any(whole):
        most = max(np.count_nonzero(~d[at]) for d in dead for at in points)
        raise InputError(
            f"only {most} members without NaN are left, and this statistic needs at least {least}"
        )
    if masks:
        missing = (np.broadcast_to(d[..., None], v.shape) for v, d in zip(values, dead, strict=True))
        return call(*(np.ma.array(v, mask=mask) for v, mask in zip(values, missing, strict=True)))
    if policy == "omit" and all((d == d.reshape(-1, d.shape[-1])[0]).all() for d in dead):
        kept = [~d.reshape(-1, d.shape[-1])[0] for d in dead]
        return call(*(v[..., k, :] for v, k in zip(values, kept, strict=True)))
    found = {
        at: call(*(v[at][~d[at]] for v, d in zip(values, dead, strict=True)), at=at)
        for at, good in zip(points, whole, strict=True)
        if good
    }
    # The shape of an answer that has no data behind it is that of made-up levels.
    pattern = next(iter(found.values())) if found else call(*map(_made_up, values), at=points[0])
    nothing = _blank(pattern)
    results = [found.get(at, nothing) for at in points]
    return stacked(results, lead) if lead else results[0]


def _made_up(values: np.ndarray) -> np.ndarray:
    """Ascending levels of the shape of one point, with nothing special about them."""
    members, modes = values.shape[-2:]
    rng = np.random.default_rng(0)
    return np.sort(1 + np.arange(modes) + 0.5 * rng.random((max(members, 5), modes)), axis=-1)


def _blank(pattern):
    """A result like `pattern` in which every number is NaN."""
    fields = fields_of(pattern)
    if fields is None:
        return np.full(np.shape(pattern), np.nan)[()]
    values = {}
    for name, value in fields.items():
        nothing = "" if np.asarray(value).dtype.kind == "U" else np.nan
        values[name] = np.full(np.shape(value), nothing)[()] if _measured(value) else value
    return type(pattern)(**values)


def _measured(value) -> bool:
    """Whether a field holds results (labelled, stacked) rather than a setting such as a method's name."""
    return isinstance(value, (float, np.ndarray, np.generic))


def _kept(call, first: Ensemble, policy: str, least: int, alone: bool) -> np.ndarray:
    """A result with the members' axis; NaN for the members that do not count."""
    values = first.values
    dead = np.isnan(values).any(axis=-1)
    if policy == "raise" or not dead.any():
        return call(values)
    if not alone and policy == "propagate":
        dead = np.broadcast_to(dead.any(axis=-1, keepdims=True), dead.shape)
    points = [...] if alone else list(np.ndindex(values.shape[:-2])) if first.lead else [...]
    shape, result = values.shape[:-1], None
    for at in points:
        alive = ~dead[at]
        if np.count_nonzero(alive) >= least:
            found = call(values[at][alive])
            if result is None:
                result = np.full((*shape, found.shape[-1]), np.nan)
            result[at][alive] = found
    if result is None:
        if policy == "omit":
            raise InputError(f"fewer than {least} members without NaN are left")
        modes = call(_made_up(values)).shape[-1]
        result = np.full((*shape, modes), np.nan)
    return result


def _labelled_like(result: np.ndarray, first: Ensemble, last: str):
    """Labels for a result with all axes of the levels, of which the last may be shorter and then renamed."""
    array = first.array
    if array is None:
        return result
    if result.shape == array.shape:
        return array.copy(data=result)
    *front, mode = array.dims
    coords = {n: c for n, c in array.coords.items() if mode not in c.dims}
    return xr.DataArray(result, coords, (*front, last)).assign_coords({last: np.arange(result.shape[-1])})


def _labelled(result, first: Ensemble, trailing, axes: Mapping[str, Axes], made: Mapping[str, Any]):
    fields = fields_of(result)
    if fields is None:
        return _array(result, first, Axes(trailing), made)
    values = {
        name: _array(value, first, axes.get(name, Axes(trailing)), made) if _measured(value) else value
        for name, value in fields.items()
    }
    return type(result)(**values)


def _array(value, first: Ensemble, axes: Axes, made: Mapping[str, Any]) -> xr.DataArray:
    """One array of a result with its dimensions, as far as its shape tells which it has."""
    value, array = np.asarray(value), first.array
    assert array is not None, "of labelled levels"
    front = axes.before[: value.ndim]
    lead = array.dims[:-2] if axes.lead else ()
    core = value.shape[len(front) :]
    if core[: len(lead)] != tuple(array.sizes[dim] for dim in lead):
        lead = ()  # a statistic of the user's own may have averaged over them
    after = core[len(lead) :]
    mode, modes = array.dims[-1], array.shape[-1]
    names = [mode if name == MODE else name for name in axes.after[: len(after)]]
    if MODE in axes.after[: len(after)] and after[axes.after.index(MODE)] != modes:
        names = []
    names += [f"axis_{k}" for k in range(len(names), len(after))]
    dims = (*front, *lead, *names)
    coords = {n: c for n, c in array.coords.items() if set(c.dims) <= set(dims)}
    coords |= {name: coordinate for name, coordinate in made.items() if name in dims}
    return xr.DataArray(value, coords, dims)
