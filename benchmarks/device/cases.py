"""What is checked and timed on a GPU."""

import sys
from pathlib import Path
from typing import NamedTuple

import dysonjax as dj
from dysonjax.compile import fastest, layouts

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "cuda"))

import kernels  # noqa: E402

CARRY = Path(__file__).with_name("carry")
RATES = {"linear": (0.01, 0.02, 0.05), "gibbs": (0.002, 0.005, 0.01), "collapsed": (0.002, 0.005, 0.01)}
STUDENT = (0.05, 0.1, 0.2)
PIECES = (37, 63)  # two, as a run has them
MOST_TRIED = 8  # ways to cut a network that are timed


CHECKED = {name: {} for name in kernels.MODELS}
CHECKED |= {"student, momentum": {"optimizer": "momentum"}, "student, float64": {"x64": True}}


def checked(name: str) -> kernels.Case:
    """Networks whose numbers after some steps are known from a CPU."""
    model = name.split(",")[0]
    return kernels.case(model, RATES.get(model, STUDENT), **CHECKED[name])


def tried(one: kernels.Case, worlds: int, points: int, most: int) -> list[layouts.Layout]:
    """The cheapest ways by the model of costs; beyond those of a choice, also blocks of several sizes."""
    different = layouts.ranked(one.ready.step, worlds, points)[:most]
    if most <= fastest.TRIES:
        return different
    whole = layouts.warps_of(different[0].how.threads, points, 1)  # all networks of a world in one block
    blocks = {*layouts.BLOCKS, *([whole] if whole <= layouts.MOST_WARPS else [])}
    more = [way._replace(block=block) for way in different[:2] for block in sorted(blocks)]
    return list(dict.fromkeys([*different, *more]))


class Timed(NamedTuple):
    """An ensemble of which the rate is measured."""

    name: str
    model: str
    points: int
    seeds: int
    goal: float  # network-steps/s on an H100; 0: none

    def case(self, few: bool) -> kernels.Case:
        make, batch_size = MODELS[self.model]
        points, seeds = (min(self.points, 6), 2) if few else (self.points, self.seeds)
        low, high = (0.001, 0.02) if self.model in ("gibbs", "collapsed", "linear") else (0.01, 0.3)
        rates = [low * (high / low) ** (i / max(points - 1, 1)) for i in range(points)]
        return kernels.of_model(make(), batch_size, rates, seeds)


MODELS = {
    **kernels.MODELS,
    "student": (dj.models.teacher_student, 4),  # with its thousand batches
    "all": (lambda: dj.models.teacher_student(train="all"), 4),
}
TIMED = (
    Timed("student, 144 x 10", "student", 144, 10, 1e9),
    Timed("student, 144 x 100", "student", 144, 100, 2e9),
    Timed("student, 144 x 700", "student", 144, 700, 2e9),
    Timed("online, 144 x 10", "online", 144, 10, 0.3e9),
    Timed("all, 144 x 10", "all", 144, 10, 0.3e9),
    Timed("all, 144 x 100", "all", 144, 100, 1e9),
    Timed("RBM gibbs, 10 x 64", "gibbs", 10, 64, 0.1e9),
    Timed("RBM gibbs, 10 x 10000", "gibbs", 10, 10_000, 0.3e9),
    Timed("RBM collapsed, 10 x 64", "collapsed", 10, 64, 0.1e9),
    Timed("RBM collapsed, 10 x 10000", "collapsed", 10, 10_000, 0.3e9),
    Timed("linear, 32 x 3200", "linear", 32, 3200, 20e9),
)
