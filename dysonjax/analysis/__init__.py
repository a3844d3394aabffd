"""Observables of the datasets of runs: phases, pairs of levels, attention."""

from dysonjax.analysis import attention, pairs, phase

__all__ = ["attention", "pairs", "phase"]
