"""All cases. A module `cases_*.py` beside this one holds those of one part of the library in `CASES`."""

import importlib
import pkgutil

import tests.calibration as here


def all_cases():
    """Every case, in the order of the modules' names; names are unique."""
    names = sorted(m.name for m in pkgutil.iter_modules(here.__path__) if m.name.startswith("cases_"))
    found = [case for name in names for case in importlib.import_module(f"{here.__name__}.{name}").CASES]
    assert len({case.name for case in found}) == len(found)
    return found
