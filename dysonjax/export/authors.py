"""Who made a run."""

import re
from typing import NamedTuple

from dysonjax.checks import InputError

FORM = re.compile(r"\s*([^,()]+?)\s*,\s*([^,()]+?)\s*(?:\(\s*(\d{4}-\d{4}-\d{4}-\d{3}[\dX])\s*\))?\s*")


class Author(NamedTuple):
    """A person; orcid: None if it is not known."""

    family: str
    given: str
    orcid: str | None = None


def author(text: str) -> Author:
    """The author whom "Family, Given" or "Family, Given (ORCID)" names; raises InputError otherwise."""
    found = FORM.fullmatch(text)
    if found is None:
        raise InputError(
            f'author must be "Family, Given" or "Family, Given (0000-0000-0000-0000)", got {text!r}'
        )
    if found[3] is not None and _check_digit(found[3]) != found[3][-1]:
        raise InputError(f"{found[3]} is no ORCID iD: its last digit does not fit")
    return Author(*found.groups())


def _check_digit(orcid: str) -> str:
    """ISO 7064 MOD 11-2."""
    total = 0
    for digit in orcid.replace("-", "")[:-1]:
        total = (total + int(digit)) * 2
    rest = (12 - total % 11) % 11
    return "X" if rest == 10 else str(rest)
