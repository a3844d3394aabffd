"""`python -m dysonjax.cli.bytecode`: import every module of this package once, so that its bytecode is kept.

An installation without bytecode makes the first run of every command wait for the compilation of thousands of
modules; where the environment forbids to write bytecode, as in most containers, every run. `make` calls this.
"""

import importlib
import pkgutil
import sys

import dysonjax


def main() -> None:
    sys.dont_write_bytecode = False
    for module in pkgutil.walk_packages(dysonjax.__path__, "dysonjax."):
        if module.name.endswith("__main__"):  # would start a command
            continue
        try:
            importlib.import_module(module.name)
        except ImportError:  # of an extra that is not installed
            continue


if __name__ == "__main__":
    main()
