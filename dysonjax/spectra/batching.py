"""Leading axes and members: one place that says what `(..., members, modes)` means for a fit."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from dysonjax.checks import InputError, finite_array

CHUNK = 2**22  # float64 entries held at once by a resampling loop: 32 MiB

Record = TypeVar("Record")
Numbers = np.ndarray | float  # a field of a result: one number, or an array of the leading shape


def as_members(name: str, x, min_members: int = 1) -> np.ndarray:
    """`x` as a float64 array of shape (..., members, modes); one axis is read as one mode per member.

    Raises ValueError for NaN or infinity, an empty axis, or fewer than `min_members` members.
    """
    x = finite_array(name, x)
    x = x[:, None] if x.ndim == 1 else x
    if 0 in x.shape:
        raise InputError(f"{name} must not be empty, got shape {x.shape}")
    if x.shape[-2] < min_members:
        raise InputError(f"{name} must have at least {min_members} members, got {x.shape[-2]}")
    return x


def over_leading_axes(fit: Callable[..., Record], *arrays: np.ndarray, core: int = 2) -> Record:
    """Apply `fit` to the last `core` axes and stack the fields of its records along the leading ones.

    All arrays must share their leading shape. Fields that are not numbers (a method's name) are kept.
    """
    lead = arrays[0].shape[: arrays[0].ndim - core]
    if any(a.shape[: a.ndim - core] != lead for a in arrays):
        raise InputError(f"leading axes must agree, got shapes {', '.join(str(a.shape) for a in arrays)}")
    if not lead:
        return fit(*arrays)
    flat = [a.reshape(-1, *a.shape[a.ndim - core :]) for a in arrays]
    return stacked([fit(*rows) for rows in zip(*flat, strict=True)], lead)


def fields_of(result: Any) -> dict[str, Any] | None:
    """The fields of a record (a dataclass or a NamedTuple), None for anything else."""
    if dataclasses.is_dataclass(result):
        return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    return result._asdict() if hasattr(result, "_asdict") else None


def stacked(results: Sequence[Any], lead: tuple[int, ...]) -> Any:
    """Results of single points, stacked along the leading axes; records field by field.

    Names and whole numbers that all points share (settings) are kept as they are. A record may name in
    `BEFORE` the fields that have one axis before the leading ones, such as that of the replicates; where
    points have unequally many, NaN fills up.
    """
    fields = fields_of(results[0])
    if fields is None:
        return np.reshape(results, lead + np.shape(results[0]))
    before = getattr(type(results[0]), "BEFORE", ())
    made: dict[str, Any] = {}
    for name, first in fields.items():
        values = [getattr(result, name) for result in results]
        if first is None or (isinstance(first, str | int) and len(set(values)) == 1):
            made[name] = first
            continue
        if name in before:
            most = max(len(value) for value in values)
            whole = np.full((most, len(values), *np.shape(first)[1:]), np.nan)
            for k, value in enumerate(values):
                whole[: len(value), k] = value
            made[name] = whole.reshape(most, *lead, *whole.shape[2:])
        else:
            made[name] = np.reshape(values, lead + np.shape(first))
    return type(results[0])(**made)
