"""Packages whose names are loaded at their first use: who draws a phase diagram does not wait for SciPy.

A package writes its imports as always, under `if TYPE_CHECKING:`, where editors and type checkers read them,
and calls `attach(__name__)`. A name that is asked for is imported then.
"""

import ast
import importlib
import sys
from types import ModuleType
from typing import Any


def attach(package: str) -> None:
    """Make the imports under `if TYPE_CHECKING:` of a package, which is being imported, happen on demand."""
    module = sys.modules[package]
    loader: Any = module.__spec__.loader if module.__spec__ else None  # one that knows the source
    module.__dict__["_homes"] = _homes(loader.get_source(package))
    module.__class__ = LazyPackage


def _homes(source: str) -> dict[str, tuple[str, str]]:
    """Public name -> (module, name in it), for the imports under `if TYPE_CHECKING:`."""
    blocks = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    named = [(str(node.module), alias) for node in imports for alias in node.names]
    return {alias.asname or alias.name: (module, alias.name) for module, alias in named}


class LazyPackage(ModuleType):
    """A package that imports a public name when it is asked for it."""

    def __getattr__(self, name: str):
        home = self.__dict__["_homes"].get(name)
        if home is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module, attribute = home
        if module == self.__name__:  # a module of this package is meant
            value = importlib.import_module(f"{module}.{attribute}")
        else:
            value = getattr(importlib.import_module(module), attribute)
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value) -> None:
        # The import system enters a module that has been loaded into its package. Where a public function has
        # the name of its module (`dyson.integrate`), the name stays the function's.
        home = self.__dict__["_homes"].get(name)
        if home == (f"{self.__name__}.{name}", name) and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.__dict__["_homes"]})
