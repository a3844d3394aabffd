"""One way to pass randomness to a function: `key`, an integer or a key of JAX."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from dysonjax import checks, forks, renamed

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    import jax

    Key = int | jax.Array
else:
    Key = int | Any  # an integer or a key of JAX, which need not be imported for this


def number(name: str, key: Any) -> int:
    """An integer below 2³² that stands for a key: the integer itself, also of `jax.random.key(integer)`.

    Raises InputError if it is neither an integer from 0 to 2³² − 1 nor a key.
    """
    kind = str(getattr(key, "dtype", ""))
    if not (kind.startswith("key<") or kind == "uint32"):
        return checks.seed(name, key)
    import jax

    forks.not_forked()
    words = np.ravel(jax.random.key_data(key) if kind.startswith("key<") else key)
    if len(words) < 2 or words[:-1].any():
        return int(np.random.SeedSequence(words.tolist()).generate_state(1)[0])
    return int(words[-1])


def keyed(function: F) -> F:
    """A function with an argument `key`, which it gets as an integer; `seed`, the former name, still works.

    The former name warns, and goes with the next version.
    """
    place = list(inspect.signature(function).parameters).index("key")

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if "key" in kwargs:
            kwargs["key"] = number("key", kwargs["key"])
        elif len(args) > place:
            args = (*args[:place], number("key", args[place]), *args[place + 1 :])
        return function(*args, **kwargs)

    taking: Any = renamed.arguments(key="seed")(call)
    return taking
