"""Observables of the datasets of runs: phases, pairs of levels, attention."""

from typing import TYPE_CHECKING

from dysonjax import lazy

if TYPE_CHECKING:
    from dysonjax.analysis import attention, pairs, phase

__all__ = ["attention", "pairs", "phase"]

lazy.attach(__name__)
