"""The closed choices of a command's option, in the order in which its type names them."""

import dataclasses
import types
import typing
from typing import Any


def of_type(hint: Any) -> list:
    """What the type of a field allows where it lists all values, alone or in a union; else nothing."""
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    kinds = typing.get_args(hint) if union else (hint,)
    return [v for kind in kinds if typing.get_origin(kind) is typing.Literal for v in typing.get_args(kind)]


def of_option(command: type, option: str) -> list:
    """Those of an option by the name that is typed, as "keep-weights"; nothing if it is open.

    command: a dataclass; the options of the dataclasses that it holds are its own.
    """
    hints = typing.get_type_hints(command)
    found = of_type(hints.get(option.replace("-", "_")))
    groups = (h for h in hints.values() if isinstance(h, type) and dataclasses.is_dataclass(h))
    return found or next(filter(None, (of_option(group, option) for group in groups)), [])
