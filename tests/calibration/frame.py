"""Do stated errors cover, and are stated p-values uniform under the null? The frame of that question.

A case draws data whose truth is known, with members that are correlated inside, and says whether the stated
intervals held it, or which p-value came out. `test_calibration.py` runs every case, and
`python -m tests.calibration.table --write` puts the same numbers into docs/validation.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

REPETITIONS = 500
DOUBT = 1e-3  # a case that is right is refused this rarely, by each of its criteria


@dataclass(frozen=True)
class Coverage:
    """Intervals at 68.27 and 95 %: `experiment(rng) -> (inside the first, inside the second)`.

    `conservative` ones may be too wide, never too narrow.
    """

    name: str
    experiment: Callable[[np.random.Generator], tuple[bool, bool]]
    repetitions: int = REPETITIONS
    conservative: bool = False


@dataclass(frozen=True)
class PValue:
    """A p-value under its null: `experiment(rng) -> p`. `conservative` ones may only be too large."""

    name: str
    experiment: Callable[[np.random.Generator], float]
    repetitions: int = REPETITIONS
    conservative: bool = False


class Outcome(NamedTuple):
    name: str
    measured: str  # what the table says
    holds: bool


def inside(truth: float, estimate: float, error: float) -> tuple[bool, bool]:
    """Whether ±1 and ±1.96 standard errors about the estimate hold the truth."""
    distance = abs(truth - estimate)
    return bool(distance <= error), bool(distance <= 1.96 * error)


def run(case: Coverage | PValue, seed: int = 0) -> Outcome:
    """Repeat a case; every repetition has a generator of its own."""
    children = np.random.SeedSequence(seed).spawn(case.repetitions)
    found = [case.experiment(np.random.default_rng(child)) for child in children]
    if isinstance(case, Coverage):
        hits = np.asarray(found, dtype=bool).sum(axis=0)
        n = case.repetitions
        holds = all(
            _plausible(int(k), n, level, case.conservative)
            for k, level in zip(hits, (0.6827, 0.95), strict=True)
        )
        return Outcome(
            case.name, f"{100 * hits[0] / n:.1f} / {100 * hits[1] / n:.1f} % for 68.3 / 95 %", holds
        )
    p = np.asarray(found, dtype=float)
    shares = {level: int((p <= level).sum()) for level in (0.05, 0.1, 0.5)}
    n = case.repetitions
    high = [stats.binom.sf(k - 1, n, level) > DOUBT for level, k in shares.items()]
    low = [case.conservative or stats.binom.cdf(k, n, level) > DOUBT for level, k in shares.items()]
    listed = ", ".join(f"{100 * k / n:.1f} % ≤ {level}" for level, k in shares.items())
    uniform = f"; KS p = {stats.kstest(p, 'uniform').pvalue:.2f}"
    return Outcome(case.name, listed + uniform, bool(np.isfinite(p).all()) and all(high) and all(low))


def _plausible(hits: int, n: int, level: float, conservative: bool) -> bool:
    too_few = stats.binom.cdf(hits, n, level) <= DOUBT / 2
    too_many = stats.binom.sf(hits - 1, n, level) <= DOUBT / 2
    return not too_few and (conservative or not too_many)
