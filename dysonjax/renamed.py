"""Former names of arguments and fields: they work for a version, and warn."""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def arguments(**formerly: str) -> Callable[[F], F]:
    """A function, or a class, that takes some of its arguments under a former name as well, `new="old"`.

    The former name warns, and goes with the next version. Editors and `help` show the new ones alone.
    """

    def decorate(function: F) -> F:
        if inspect.isclass(function):
            made: Any = function
            made.__init__ = _taking(made.__init__, function.__name__, formerly)
            return function
        return _taking(function, function.__name__, formerly)

    return decorate


def _taking(function: F, name: str, formerly: dict[str, str]) -> F:
    inner: Any = function
    known: Any = getattr(function, "_taking", None)
    if (
        known is not None and known[0] is function
    ):  # one wrapper for all names, so that warnings name the caller
        inner, formerly = known[1], known[2] | formerly
    former = {old: new for new, old in formerly.items()}

    @functools.wraps(inner)
    def call(*args: Any, **kwargs: Any) -> Any:
        for old in former.keys() & kwargs.keys():
            if former[old] in kwargs:
                raise TypeError(f"{name}() got both {former[old]} and {old}, its former name")
            warned(f"the argument {old} of {name}", former[old])
            kwargs[former[old]] = kwargs.pop(old)
        return inner(*args, **kwargs)

    made: Any = call
    made._taking = made, inner, formerly
    return made


def field(name: str, old: str, meaning: str = "") -> Any:
    """A property `old` of a class whose field is now called `name`."""

    def get(self: Any) -> Any:
        warned(old, name)
        return getattr(self, name)

    return property(get, doc=f"Former name of `{name}`.{meaning}")


class Fields(dict[str, Any]):
    """Values by name; those that had another name, `new="old"`, can be read by that name, which warns."""

    def __init__(self, values: dict[str, Any], **formerly: str) -> None:
        super().__init__(values)
        self._formerly = formerly

    def __missing__(self, name: str) -> Any:
        for new, old in self._formerly.items():
            if name == old:
                warned(f"the entry {old}", new)
                return self[new]
        raise KeyError(name)

    def formerly(self) -> dict[str, Any]:
        """The same in order, by the former names: those under which JSON files hold them."""
        return {self._formerly.get(name, name): value for name, value in self.items()}


def warned(old: str, new: str) -> None:
    """Warn where the caller of the caller used a former name."""
    warnings.warn(f"{old} is now called {new}", DeprecationWarning, stacklevel=3)
