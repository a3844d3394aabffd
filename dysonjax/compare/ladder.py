"""All rungs at one grid point, or at every point of a grid."""

import dataclasses
import itertools
import time as clock
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dysonjax import checks, dyson, renamed, threefry
from dysonjax.compare import rungs
from dysonjax.compare.rungs import CLOSED, DYSON, GAS, LANGEVIN, RUNGS, SGD
from dysonjax.compare.steps import Step, compare, verdict
from dysonjax.compare.systems import OPTIONS, START_WIDTH, STEPS, SYSTEMS, System
from dysonjax.ensemble import Grid, train
from dysonjax.keys import Key, keyed
from dysonjax.spectra.averages import mean_and_sem

SETTLED = 4.0  # relaxation times of the slowest level after which a stationary law may be expected
# Shares of the time that the trained rungs and the rest take, for the progress report alone.
PROGRESS = {SGD: 0.4, LANGEVIN: 0.3}

Progress = Callable[[float, float], None]


@dataclasses.dataclass(frozen=True)
class Ladder:
    """The five rungs at one grid point.

    Attributes
    ----------
    system : str
        "rbm" or "linear".
    lr, batch_size : float, int
        The grid point.
    order : int
        Of rung 3 in √(α/|B|).
    levels : dict of str to float64 array, shape (members, levels)
        By rung, ascending. A rung that does not exist is missing.
    targets : array, shape (levels,)
        Zeros of the drift, units of the level.
    sigma : array, shape (levels,)
        Width of a single level in theory, units of the level.
    g2 : array, shape (levels,)
        Noise strengths of rung 3, at the targets.
    comparisons : tuple of Step
        One for each pair of neighbouring rungs.
    verdict : str
        One paragraph.
    notes : tuple of str
        What was left out and why.
    diverged : dict of str to int
        By rung, members that are left out.
    training_steps : int
        Steps of SGD.
    seconds : float
        Wall time. For a point of a grid, its share.
    """

    system: str
    lr: float
    batch_size: int
    order: int
    levels: dict[str, np.ndarray]
    targets: np.ndarray
    sigma: np.ndarray
    g2: np.ndarray
    comparisons: tuple[Step, ...]
    verdict: str
    notes: tuple[str, ...]
    diverged: dict[str, int]
    training_steps: int
    seconds: float

    steps = renamed.field("comparisons", "steps")


class Checked(NamedTuple):
    """The arguments of `ladders` in canonical form."""

    laws: dict[tuple[int, int], System]  # by the indices of batch size and learning rate
    grid: Grid
    steps: int
    windows: dict[tuple[int, int], tuple[int, ...]]  # the steps that the SGD run records for each point


def ladder(system: str, *, lr: float = 0.1, batch_size: int = 16, **options: Any) -> Ladder:
    """All rungs from SGD to closed forms at one grid point.

    Parameters
    ----------
    system : {"rbm", "linear"}
        Which system.
    lr : float, default 0.1
        Learning rate.
    batch_size : int, default 16
        Size of a mini-batch.
    **options
        As for `ladders`.

    Returns
    -------
    Ladder
        The levels of every rung, and what each step costs.

    Raises
    ------
    InputError
        As `ladders`.

    Examples
    --------
    >>> found = dj.compare.ladder("linear", members=40, steps=200, permutations=99)
    >>> [f"{step.first} -> {step.second}" for step in found.comparisons][:2]
    ['SGD -> matrix Langevin', 'matrix Langevin -> Dyson Brownian motion']
    >>> found.levels["SGD"].shape
    (40, 2)
    """
    return ladders(system, lr=(lr,), batch_size=(batch_size,), **options)[0]


@keyed
@threefry.settled()
def ladders(
    system: str, *, lr: Sequence[float] = (0.1,), batch_size: Sequence[int] = (16,),
    sigma_w: float | None = None, members: int = 500, steps: int | None = None, noise: str = "theory",
    order: int = 1, key: Key = 0,
    permutations: int = 999, progress: Progress | None = None, **options: Any,
) -> tuple[Ladder, ...]:  # fmt: skip
    """All rungs from SGD to closed forms at every combination of batch size (outer) and learning rate.

    Parameters
    ----------
    system : {"rbm", "linear"}
        Which system.
    lr : sequence of float, default (0.1,)
        Learning rates. Those of one batch size share their randomness; rungs do not.
    batch_size : sequence of int, default (16,)
        Sizes of mini-batches.
    sigma_w : float, optional
        Initial weights are N(0, sigma_w²/n). By default 0.1 √n, as published.
    members : int, default 500
        Of every rung, at least 2 (40 with measured noise).
    steps : int, optional
        Training steps. By default 8000 (rbm) or 5000 (linear), and more in proportion where the smallest lr
        is below 0.1. The Dyson motion runs for the same time.
    noise : {"theory", "measured"}, default "theory"
        "theory" takes K_i and g_i² from the model. "measured" estimates both from the end of the SGD run and
        starts rung 3 there, since K_i is not known elsewhere. Rung 5 stays that of theory.
    order : {1, 2}, default 1
        Of rung 3 in √(α/|B|): 1 as printed in [A] or 2, see `dysonjax.dyson.second_order`.
    key : int or jax.Array, default 0
        Randomness.
    permutations : int, default 999
        Relabellings of each permutation test.
    progress : callable, optional
        Called with the share done and 1.
    **options
        For the RBM: `visible`, `mu`, `sigma_h`, `k`, `mass`, `kappa`, `covariance`, `data` and `sampler` (by
        default "collapsed", the same law as "gibbs"). For the linear network: `values`, `epsilon`, `z` and
        `noise_of` ("gradient" or "label").

    Returns
    -------
    tuple of Ladder
        One for each grid point.

    Raises
    ------
    InputError
        For an unknown system or option, a number out of range, or learning that diverges.

    Notes
    -----
    The rungs are SGD, matrix Langevin, Dyson Brownian motion, the Coulomb gas and closed forms, see
    `dysonjax.compare`. [A] 2.1-2.5, 3.1; [B]; [C].

    Examples
    --------
    >>> both = dj.compare.ladders("linear", lr=(0.1, 0.2), members=40, steps=200, permutations=99)
    >>> [one.lr for one in both]
    [0.1, 0.2]
    >>> bool(both[0].sigma[0] < both[1].sigma[0])
    True
    """
    task = check(system, lr, batch_size, sigma_w, members, steps, noise, order, key, permutations, options)
    begin = clock.perf_counter()
    records = sorted({step for window in task.windows.values() for step in window})
    any_law = task.laws[0, 0]

    def report(start: float, share: float) -> Progress | None:
        return progress and (lambda done, total: progress(start + share * done / total, 1.0))

    # Different roots: with one, both runs would share teacher, start and part of the noise.
    runs = {
        SGD: train(
            any_law.sgd, task.grid, task.steps, records, key=2 * key % 2**32,
            progress=report(0.0, PROGRESS[SGD]),
        ).dataset,
        LANGEVIN: train(
            any_law.langevin, task.grid, task.steps, (task.steps,), key=(2 * key + 1) % 2**32,
            progress=report(PROGRESS[SGD], PROGRESS[LANGEVIN]),
        ).dataset,
    }  # fmt: skip
    spent = sum(PROGRESS.values())
    share = (1 - spent) / len(task.laws)
    found = []
    for number, index in enumerate(task.laws):
        root = threefry.derive(threefry.root(key), number) if number else threefry.root(key)
        inner = report(spent + number * share, share)
        found.append(_one(system, task, index, runs, noise, order, root, key, permutations, inner))
    seconds = (clock.perf_counter() - begin) / len(found)
    return tuple(dataclasses.replace(one, seconds=seconds) for one in found)


def _one(system, task: Checked, index, runs, noise, order, key, seed, permutations, progress) -> Ladder:
    law, window, grid = task.laws[index], task.windows[index], task.grid
    keys = jax.random.split(key, 4)
    levels, diverged, notes = {}, {}, []
    recorded, diverged[SGD] = rungs.trained(law, runs[SGD], index, window)
    levels[SGD] = recorded[:, -1]
    langevin, diverged[LANGEVIN] = rungs.trained(law, runs[LANGEVIN], index, (task.steps,))
    levels[LANGEVIN] = langevin[:, -1]
    members, size = grid.seeds, len(law.targets)

    potential, g2, pairs = law.potential, law.g2, law.pairs
    start = rungs.start_levels(law, grid.sigma_w[0], members, keys[0])
    if noise == "measured":
        measured = dyson.measure(recorded, law.unit * np.array(window))
        potential, g2, start = measured.potential(**law.limits), measured.g2, recorded[:, 0]
        notes.append("drift and noise of the Dyson motion are measured, the closed forms those of theory")
        if (g2 <= 0).any():
            raise checks.InputError("the measured noise g2 is not positive; use more members")
    levels[DYSON] = rungs.dyson_levels(
        law, potential, g2, start, task.steps, keys[1], pairs=pairs, progress=progress
    )
    diverged[DYSON] = len(start) - len(levels[DYSON])
    if pairs is not None:
        notes.append("no Coulomb gas: at second order the motion has no detailed balance, and no closed law")
    else:
        try:
            if noise == "theory" and law.several_species:
                levels[GAS], warned = rungs.species_gas_levels(law, members, keys[2])
            else:
                gas = dyson.CoulombGas(potential, g2, 1.0, size)
                levels[GAS], warned = rungs.gas_levels(gas, members, keys[2])
            notes += warned
        except checks.InputError as error:
            notes.append(f"no Coulomb gas: {error}")
    if law.matrix is not None:
        levels[CLOSED] = law.matrix(members, int(jax.random.bits(keys[3], dtype="uint32")))
        notes.append("closed forms are levels of a Gaussian matrix about the shifted targets")
    else:
        levels[CLOSED] = rungs.closed_forms(law.targets, law.sigma, members, keys[3])
    relaxed = law.unit * task.steps * law.omega.min()
    if relaxed < SETTLED:
        notes.append(
            f"training lasts {relaxed:.1f} relaxation times of the slowest level: too short for the "
            f"stationary laws"
        )
    if lost := sum(diverged.values()):
        notes.append(f"{lost} members diverged and are left out")

    present = [name for name in RUNGS if name in levels]
    found = tuple(
        compare(a, b, levels[a], levels[b], permutations, seed) for a, b in itertools.pairwise(present)
    )
    with jax.enable_x64(True):
        strength = np.asarray(g2(law.targets) if callable(g2) else g2, np.float64)
    return Ladder(
        system, grid.lr[index[1]], grid.batch_size[index[0]], order, levels, law.targets, law.sigma,
        np.broadcast_to(strength, law.targets.shape), found, verdict(found), tuple(notes), diverged,
        task.steps, 0.0,
    )  # fmt: skip


@keyed
def check(
    system: str, lr: float | Sequence[float], batch_size: int | Sequence[int], sigma_w: float | None,
    members: int, steps: int | None, noise: str, order: int, key: Key, permutations: int, options: dict,
) -> Checked:  # fmt: skip
    """The arguments of `ladders` in canonical form, without having run anything.

    Parameters
    ----------
    system, lr, batch_size, sigma_w, members, steps, noise, order, key, permutations
        As for `ladders`.
    options : dict
        The other options of `ladders`.

    Returns
    -------
    Checked
        The laws of all grid points, the grid, the training steps and the records of the SGD run.

    Raises
    ------
    InputError
        For whatever `ladders` would refuse.

    Examples
    --------
    >>> dj.compare.check("rbm", 0.1, 16, None, 500, None, "theory", 1, 0, 999, options={}).steps
    8000
    """
    checks.one_of("system", system, list(OPTIONS))
    for name in options:
        checks.one_of(f"an option of {system}", name, OPTIONS[system])
    checks.one_of("noise", noise, ["theory", "measured"])
    if checks.positive_int("order", order) > 2:
        raise checks.InputError(f"order must be 1 or 2, got {order}")
    if order == 2 and noise == "measured":
        raise checks.InputError("order 2 refines drift and noise of theory; it needs noise 'theory'")
    members = checks.positive_int("members", members, 2 if noise == "theory" else 40)
    # The grid is made with any width first, since the published one follows from the number of levels.
    grid = Grid(lr, batch_size, 1.0 if sigma_w is None else sigma_w, members)
    laws = {
        (b, a): SYSTEMS[system](lr, batch_size, order, **options)
        for b, batch_size in enumerate(grid.batch_size)
        for a, lr in enumerate(grid.lr)
    }
    if sigma_w is None:
        grid = dataclasses.replace(grid, sigma_w=START_WIDTH * np.sqrt(len(laws[0, 0].targets)))
    elif isinstance(sigma_w, Iterable):
        raise checks.InputError("sigma_w must be one number: the ladder compares laws that forget the start")
    if steps is None:
        steps = int(np.ceil(STEPS[system] * max(1.0, 0.1 / min(grid.lr))))
    steps = checks.positive_int("steps", steps)
    checks.positive_int("permutations", permutations)
    measured = noise == "measured"
    windows = {index: rungs.window(law, steps) if measured else (steps,) for index, law in laws.items()}
    return Checked(laws, grid, steps, windows)


def summarise(ladder: Ladder) -> renamed.Fields:
    """A ladder as JSON values.

    Parameters
    ----------
    ladder : Ladder
        The ladder.

    Returns
    -------
    dict
        Means and standard errors by rung, and for each number of `Step` a list over the steps.

    Examples
    --------
    >>> both = dj.compare.ladders("linear", lr=(0.1, 0.2), members=40, steps=200, permutations=99)
    >>> summary = dj.compare.summarise(both[0])
    >>> summary["targets"], len(summary["wasserstein"]) == len(summary["rungs"]) - 1
    ([2.0, 2.0], True)
    """
    means = {name: mean_and_sem(x) for name, x in ladder.levels.items()}
    gaps = {name: mean_and_sem(np.diff(x)) for name, x in ladder.levels.items()}
    by_rung = {
        "levels_mean": {name: mean for name, (mean, _) in means.items()},
        "levels_err": {name: error for name, (_, error) in means.items()},
        "spacing_mean": {name: mean for name, (mean, _) in gaps.items()},
        "spacing_err": {name: error for name, (_, error) in gaps.items()},
    }
    values = {
        "system": ladder.system,
        "lr": ladder.lr,
        "batch_size": ladder.batch_size,
        "order": ladder.order,
        "rungs": list(ladder.levels),
        "targets": ladder.targets.tolist(),
        "g2": ladder.g2.tolist(),
        **{key: {name: x.tolist() for name, x in values.items()} for key, values in by_rung.items()},
        **{
            name: [np.asarray(getattr(step, name)).tolist() for step in ladder.comparisons]
            for name in Step._fields
        },
        "z": [{"levels": s.z_levels.tolist(), "spacings": s.z_spacings.tolist()} for s in ladder.comparisons],
        "diverged": ladder.diverged,
        "notes": list(ladder.notes),
        "verdict": ladder.verdict,
    }
    return renamed.Fields(values, levels_err="levels_sem", spacing_err="spacing_sem")


def overview(found: Sequence[Ladder]) -> str:
    """One paragraph about several ladders: where each step costs most, and how the cost follows α/|B|.

    Parameters
    ----------
    found : sequence of Ladder
        From `ladders`.

    Returns
    -------
    str
        One paragraph.

    Examples
    --------
    >>> both = dj.compare.ladders("linear", lr=(0.1, 0.2), members=40, steps=200, permutations=99)
    >>> dj.compare.overview(both)
    'Over 2 points: from SGD to matrix Langevin levels move by ...'
    """
    sentences = []
    names = list(dict.fromkeys((s.first, s.second) for one in found for s in one.comparisons))
    for first, second in names:
        cost, seen, temperature, where = [], [], [], []
        for one in found:
            for step in one.comparisons:
                if (step.first, step.second) == (first, second):
                    cost.append(step.wasserstein)
                    seen.append(step.p_value < 0.05)
                    temperature.append(one.lr / one.batch_size)
                    where.append(f"lr {one.lr:g}, |B| {one.batch_size}")
        worst = int(np.argmax(cost))
        text = (
            f"from {first} to {second} levels move by {min(cost):.2f} to {max(cost):.2f} of their width, "
            f"most at {where[worst]}; resolved at {sum(seen)} of {len(cost)} points"
        )
        if sum(seen) > 2 and np.ptp(np.log(temperature)) > 0.5:
            slope = np.polyfit(np.log(temperature), np.log(cost), 1)[0]
            text += f", growing like (alpha/|B|)^{slope:.2f}"
        sentences.append(text)
    return f"Over {len(found)} points: {'; '.join(sentences)}."
