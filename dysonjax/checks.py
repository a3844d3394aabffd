"""Bad input as one sentence: what was wrong and what is allowed.

Every check returns the value in its canonical type or raises `InputError`, a `ValueError` that the
command line turns into exit code 2. Errors of any other kind are bugs and keep their traceback.
"""

import errno
import functools
import math
import operator
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

LARGEST_NUMBER = 1e18  # of a model
LARGEST = 2**31 - 1  # of counts and sizes: steps and places are 32-bit integers on every device


class InputError(ValueError):
    """The user's input cannot be used; the message is one sentence with the remedy."""


class RunError(RuntimeError):
    """A run cannot go on, through no fault of its input; the message is one sentence with the remedy."""


def positive_int(name: str, value: Any, minimum: int = 1, maximum: int = LARGEST) -> int:
    """`value` as an int from `minimum` to `maximum`; a float with a fractional part is refused."""
    number: int | None
    try:
        number = operator.index(value)
    except TypeError:
        number = int(value) if isinstance(value, float) and value.is_integer() else None
    if number is None or isinstance(value, bool) or number < minimum:
        kind = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
        raise InputError(f"{name} must be {kind}, got {_shown(value)}")
    if number > maximum:
        raise InputError(f"{name} must be at most {maximum}, got {_shown(value)}")
    return number


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes out no integer of more than some thousand digits
        return f"one of {value.bit_length()} bits"


def seed(name: str, value: Any) -> int:
    """`value` as the root of random numbers; larger ones would repeat those of smaller ones."""
    return positive_int(name, value, 0, 2**32 - 1)


def digits(text: str) -> bool:
    """Whether a text is a whole number as `int` reads it: `str.isdigit` takes ² for one, and any length."""
    return text.isascii() and text.isdigit() and len(text) < 1000


def flag(name: str, value: Any) -> bool:
    """`value` if it is True or False; a text such as "no" would count as True."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def function(name: str, value: Any) -> Any:
    """`value` if it can be called, or None."""
    if value is not None and not callable(value):
        raise InputError(f"{name} must be a function or None, got {value!r}")
    return value


def path(name: str, value: Any) -> Path:
    """`value` as a path that the system can follow; whether something is there is another question."""
    try:
        found = Path(value)
        mode = os.stat(found).st_mode
    except TypeError:
        raise InputError(f"{name} must be a path, got {value!r}") from None
    except ValueError:  # a zero byte, or characters that no name of a file can hold
        raise InputError(f"{name} must be a path, got {str(value)!r}") from None
    except FileNotFoundError:
        return found
    except OSError as error:  # links in a circle, a name too long, a file in place of a folder, no permission
        raise InputError(f"{name} = {value} cannot be followed: {_words(error)}; name another path") from None
    # What a shell passes, such as <(command), is being written; a pipe in a folder would be waited for.
    if (stat.S_ISFIFO(mode) and found.parts[1:2] not in (("dev",), ("proc",))) or stat.S_ISSOCK(mode):
        raise InputError(f"{name} = {value} is a pipe or a socket; name a file or a folder")
    return found


def _words(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "symbolic links lead round in a circle"
    return os.strerror(error.errno or 0).lower()


def random_key(name: str, value: Any) -> Any:
    """A key of JAX: `value` itself, typed or of unsigned integers, or the key of an integer from 0 on."""
    from dysonjax import forks, threefry  # which use these checks

    forks.not_forked()
    if isinstance(value, int | np.signedinteger) and not isinstance(value, bool):
        return threefry.root(seed(name, int(value)))
    kind = str(getattr(value, "dtype", ""))
    if not (kind.startswith("key<") or kind == "uint32"):
        raise InputError(f"{name} must be a jax random key or an integer, e.g. {name}=0, got {value!r}")
    return value


def memory(what: str, needed: float, remedy: str) -> None:
    """Raise InputError if something needs more memory than this machine has; nothing is allocated."""
    there = machine_memory()
    if there is not None and needed > there:
        raise InputError(
            f"{what} would need {needed / 1e9:.3g} GB of memory, but there are {there / 1e9:.3g} GB; {remedy}"
        )


@functools.cache
def machine_memory() -> int | None:
    """Bytes of memory that this machine or container has; None if the system does not tell."""
    try:
        found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):
        return None
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            found.append(int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):  # no such limit
            continue
    return min(found)


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


def in_range(name: str, value: Any) -> Any:
    """`value` if its numbers have squares in single precision, in which networks are trained."""
    largest = float(np.max(np.abs(value), initial=0))
    if largest > LARGEST_NUMBER:
        raise InputError(
            f"{name} must hold numbers below {LARGEST_NUMBER:g}, whose squares single precision knows, got "
            f"{largest:g}"
        )
    return value


def not_vanishing(name: str, value: Any) -> Any:
    """`value` if its numbers, zeros apart, have squares in single precision, neither zero nor infinite."""
    sizes = np.abs(np.atleast_1d(value))
    if np.any((sizes != 0) & (sizes < 1 / LARGEST_NUMBER)):
        smallest = float(np.min(sizes[sizes != 0]))
        raise InputError(
            f"{name} must hold numbers above {1 / LARGEST_NUMBER:g}, whose squares single precision knows, "
            f"got {smallest:g}"
        )
    return in_range(name, value)


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """`value` if it is one of the allowed names."""
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


def finite_array(name: str, value: Any, min_ndim: int = 1) -> np.ndarray:
    """`value` as a float64 array without NaN or infinity and with at least `min_ndim` axes."""
    try:
        array = np.asarray(value)
        if array.dtype.kind == "c":
            raise InputError(f"{name} must be an array of real numbers, got complex ones")
        array = array.astype(np.float64)
    except InputError:
        raise
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
    except OverflowError:
        raise InputError(f"{name} must be a number below 1e308, got {_shown(value)}") from None
