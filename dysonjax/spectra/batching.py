"""Leading axes and members: one place that says what `(..., members, modes)` means for a fit."""

from collections.abc import Callable
from dataclasses import fields
from typing import TypeVar

import numpy as np

from dysonjax.checks import InputError, finite_array

Record = TypeVar("Record")


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
    records = [fit(*rows) for rows in zip(*flat, strict=True)]
    stacked = {}
    for field in fields(records[0]):
        values = [getattr(record, field.name) for record in records]
        kept = isinstance(values[0], str) or values[0] is None
        stacked[field.name] = values[0] if kept else np.reshape(values, lead + np.shape(values[0]))
    return type(records[0])(**stacked)
