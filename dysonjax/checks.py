"""Bad input as one sentence: what was wrong and what is allowed.

Every check returns the value in its canonical type or raises `InputError`, a `ValueError` that the
command line turns into exit code 2. Errors of any other kind are bugs and keep their traceback.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np


class InputError(ValueError):
    """The user's input cannot be used; the message is one sentence with the remedy."""


class RunError(RuntimeError):
    """A run cannot go on, through no fault of its input; the message is one sentence with the remedy."""


def positive_int(name: str, value: Any, minimum: int = 1) -> int:
    """`value` as an int of at least `minimum`; a float with a fractional part is refused."""
    try:
        number = operator.index(value)
    except TypeError:
        number = int(value) if isinstance(value, float) and value.is_integer() else None
    if number is None or isinstance(value, bool) or number < minimum:
        kind = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
        raise InputError(f"{name} must be {kind}, got {value!r}")
    return number


def positive(name: str, value: Any) -> float:
    """`value` as a finite float above zero."""
    number = _float(name, value)
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"{name} must be positive and finite, got {value!r}")
    return number


def finite(name: str, value: Any) -> float:
    """`value` as a finite float."""
    number = _float(name, value)
    if not math.isfinite(number):
        raise InputError(f"{name} must be finite, got {value!r}")
    return number


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """`value` if it is one of the allowed names."""
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


def finite_array(name: str, value: Any, min_ndim: int = 1) -> np.ndarray:
    """`value` as a float64 array without NaN or infinity and with at least `min_ndim` axes."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be an array of real numbers, got {type(value).__name__}") from None
    if array.ndim < min_ndim:
        raise InputError(f"{name} must have at least {min_ndim} axes, got shape {array.shape}")
    if not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        raise InputError(f"{name} must be finite, but {bad} of its {array.size} entries are NaN or infinite")
    return array


def _float(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a number, got {value!r}") from None
