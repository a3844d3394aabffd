"""Whether numbers that were made again are those that are stored.

On the machine, versions and code of then all bits are asked for. Elsewhere rounding differs: numbers agree
within a part of the largest of their kind, or, since training may be chaotic, within their standard errors.
"""

from typing import Any

import numpy as np
import xarray as xr

TOLERANCE = 1e-3  # of the largest number of an array; training is in single precision
ERRORS = 4.0  # standard errors of a difference, for numbers that have one
FACTOR = 2.0  # between errors


def of_datasets(old: xr.Dataset, new: xr.Dataset) -> tuple[dict[str, float | None], bool]:
    """Variables with a number that differs, with its deviation; whether all are within the tolerance.

    The deviation is None where the variables are of different kinds.
    """
    found: dict[str, float | None] = {}
    within = True
    for name in sorted(map(str, {*old.variables, *new.variables})):
        if name not in old.variables or name not in new.variables:
            found[name], within = None, False
            continue
        a, b = (data.variables[name] for data in (old, new))
        if a.dims == b.dims and a.shape == b.shape and same(a.values, b.values):
            continue
        if a.dims != b.dims or a.shape != b.shape or not all(_numeric(v.values) for v in (a, b)):
            found[name], within = None, False
            continue
        x, y = (v.values.astype(float) for v in (a, b))
        found[name] = deviation(x, y)
        errors = _errors(name, old, new)
        within &= close(x, y, errors, of_error=name.endswith("_err"))
    for name in ("networks", "steps"):
        if old.attrs.get(name) != new.attrs.get(name):
            found[name], within = None, False
    return found, within


def of_values(old: Any, new: Any) -> tuple[dict[str, float | None], bool]:
    """The same of what JSON holds; numbers of one kind are those that stand at the same names."""
    before, after = (_by_kind(value) for value in (old, new))
    found: dict[str, float | None] = {}
    within = True
    for name in sorted(before.keys() | after.keys()):
        a, b = before.get(name, []), after.get(name, [])
        if a == b:
            continue
        numbers = len(a) == len(b) and all(_is_number(x) and _is_number(y) for x, y in zip(a, b, strict=True))
        off = deviation(np.array(a, float), np.array(b, float)) if numbers else None
        found[name] = off
        within &= off is not None and off <= TOLERANCE
    return found, within


def _by_kind(value: Any, name: str = "") -> dict[str, list]:
    """All single values by the names that lead to them, places in lists left out."""
    found: dict[str, list] = {}
    if isinstance(value, dict):
        inner = [_by_kind(part, f"{name}.{key}" if name else str(key)) for key, part in value.items()]
    elif isinstance(value, list):
        inner = [{f"number of {name}": [len(value)]}, *(_by_kind(part, name) for part in value)]
    else:
        return {name: [value]}
    for one in inner:
        for key, values in one.items():
            found.setdefault(key, []).extend(values)
    return found


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are equal to the last bit, NaN with NaN."""
    return np.array_equal(a, b, equal_nan=_numeric(a) and _numeric(b))


def _numeric(values: np.ndarray) -> bool:
    return bool(np.issubdtype(values.dtype, np.number) or values.dtype == bool)


def _errors(name: str, old: xr.Dataset, new: xr.Dataset) -> np.ndarray | None:
    """The standard errors of differences of a variable, if it has errors."""
    known = f"{name}_err"
    if not all(known in data and data[known].dims == data[name].dims for data in (old, new)):
        return None
    return np.hypot(*(data[known].values.astype(float) for data in (old, new)))


def deviation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Largest difference over the largest number; None where only one of them is finite."""
    finite = np.isfinite(a)
    if (finite != np.isfinite(b)).any():
        return None
    if not finite.any():
        return 0.0 if same(a, b) else None
    scale = np.abs(a[finite]).max()
    return float(np.abs(a - b)[finite].max() / (scale if scale > 0 else 1.0))


def close(a: np.ndarray, b: np.ndarray, errors: np.ndarray | None, of_error: bool = False) -> bool:
    """Whether numbers agree elsewhere than on the machine of the figure.

    All within `TOLERANCE` of the largest; else each within `ERRORS` of its own, and errors within `FACTOR`.
    """
    found = deviation(a, b)
    if found is not None and found <= TOLERANCE:
        return True
    if found is None:
        return False
    finite = np.isfinite(a)
    if of_error:
        a, b = a[finite], b[finite]
        return bool((np.maximum(a, b) <= FACTOR * np.minimum(a, b)).all())
    return errors is not None and bool((np.abs(a - b) <= ERRORS * errors)[finite].all())
