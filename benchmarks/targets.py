"""Measure the thresholds between the targets again: `python benchmarks/targets.py [--only NAME …] [--write]`.

On one core, all targets of a case in turn, the fastest of some repetitions. Prints what was measured and the
value that follows from it; `--write` makes both the thresholds of this checkout. Leave the machine alone
while it measures.
"""

import argparse
import itertools
import json
from collections.abc import Callable
from typing import NamedTuple
from unittest.mock import patch

import jax
import numpy as np

import dysonjax as dj
from dysonjax.bench import table
from dysonjax.ensemble import jobs, targets, thresholds, tiles
from dysonjax.models.corpus import Corpus

# Nobody refuses for its size.
ALL = {name: 2**50 for name in thresholds.VALUES if "most" in name} | {"whole_least_bytes": 0}
HYSTERESIS = 0.1  # a tenth of the time of a step: less than the noise
POINTS = {"lr": np.linspace(0.01, 0.1, 12).tolist(), "sigma_w": np.linspace(0.2, 2, 12).tolist()}


class Way(NamedTuple):
    """One job of a case, compiled."""

    job: jobs.Job
    config: dj.ensemble.Config

    def microseconds(self) -> float:
        """Of a step of a network."""
        return 1e6 * jobs.measure(self.job, self.config) / self.config.grid.members / self.config.steps

    @property
    def state_bytes(self) -> int:
        return tiles.member_bytes(self.job.state) // self.job.tile_members


def way(target: str, model, batch_size: int, seeds: int, tile: int | None = None) -> Way:
    grid = dj.Grid(**POINTS, batch_size=batch_size, seeds=seeds)
    config = dj.ensemble.Config(grid, 2000, 1, tile=tile, devices=1)
    others = {other.name: "not measured" for other in targets.TARGETS if other.name != target}
    with patch.dict(thresholds.VALUES, ALL if tile is None else {}):
        job = jobs.job(model, config, 0, range(seeds), others)
    return Way(job.compiled(), config)


def in_turn(ways: dict[str, Way], rounds: int) -> dict[str, float]:
    found = {name: [] for name in ways}
    for _ in range(rounds):
        for name, one in ways.items():
            found[name].append(one.microseconds())
    return {name: float(f"{min(times):.3g}") for name, times in found.items()}


def student(width: int, second: int | None = None):
    return dj.models.teacher_student((3, width, second or width, 1), batches=4)


def transformer():
    tokens = np.random.default_rng(0).integers(0, 11, 2000).astype(np.uint8)
    text = Corpus("random", "", "abcdefghijk", tokens[200:], tokens[:200])
    return dj.models.nanogpt(text, width=8, heads=2, layers=1, context=8)


def cases(names: list[str], some: list[tuple], measured_bytes: Callable[[dict[str, Way]], int], rounds: int):
    """A row for each case (label, model, |B|): its bytes, and the time of a step by each target."""
    for label, model, batch_size in some:
        ways = {name: way(name, model, batch_size, 1) for name in names}
        case = f"{label}, |B| = {batch_size}"
        yield {"case": case, "bytes": measured_bytes(ways), "microseconds": in_turn(ways, rounds)}


def students(sizes: list[tuple[int, int, int]]) -> list[tuple]:
    """Cases of widths and |B|."""
    return [(f"student 3-{width}-{second}-1", student(width, second), b) for width, second, b in sizes]


def cut(rows: list[dict], below: str, above: list[str], now: int) -> int:
    """The bytes up to which the target `below` is taken, and those `above` from there on.

    Where the mean logarithm of the time of a step is least; `now` stays where it loses less than HYSTERESIS.
    """

    def loss(threshold):
        return np.mean(
            [
                np.log(min(row["microseconds"][n] for n in ([below] if row["bytes"] <= threshold else above)))
                for row in rows
            ]
        )

    sizes = sorted(row["bytes"] for row in rows)
    between = [sizes[0] // 2, *(int(np.sqrt(a * b)) for a, b in itertools.pairwise(sizes)), 2 * sizes[-1]]
    best = min(between, key=loss)
    return now if loss(now) < loss(best) + HYSTERESIS else best


def lanes_most_state_bytes(rounds: int):
    some = students([(n, n, 4) for n in (32, 48, 64, 80, 96, 128, 160)])
    rows = list(cases(["lanes", "whole"], some, lambda ways: ways["lanes"].state_bytes, rounds))
    return rows, cut(rows, "lanes", ["whole"], thresholds.VALUES["lanes_most_state_bytes"])


def lanes_most_scratch_bytes(rounds: int):
    some = students([(32, 16, b) for b in (256, 1024, 4096, 8192)] + [(64, 32, b) for b in (1024, 4096)])
    some += [("transformer of width 8", transformer(), b) for b in (4, 16)]
    scratch = lambda ways: ways["lanes"].job.lowered.scratch_bytes  # noqa: E731
    rows = list(cases(["lanes", "whole", "xla"], some, scratch, rounds))
    return rows, cut(rows, "lanes", ["whole", "xla"], thresholds.VALUES["lanes_most_scratch_bytes"])


def whole_least_bytes(rounds: int):
    some = students([(8, 8, b) for b in (4, 64, 1024)] + [(32, 16, b) for b in (4, 64, 256)] + [(64, 64, 4)])
    some.append(("transformer of width 8", transformer(), 4))

    def bytes_of(ways):
        return ways["whole"].state_bytes + ways["whole"].job.lowered.scratch_bytes

    rows = list(cases(["whole", "xla"], some, bytes_of, rounds))
    return rows, cut(rows, "xla", ["whole"], thresholds.VALUES["whole_least_bytes"])


def tile_bytes(target: str, budgets: list[int], rounds: int):
    rows = []
    for label, model, batch_size, seeds in (
        ("student 3-32-16-1, |B| = 4", student(32, 16), 4, 32),
        ("rbm of 10, |B| = 16", dj.models.rbm(), 16, 16),
    ):
        one = way(target, model, batch_size, seeds).state_bytes
        ways = {str(budget): way(target, model, batch_size, seeds, budget // one) for budget in budgets}
        rows.append({"case": label, "state of a network": one, "microseconds": in_turn(ways, rounds)})
    slower = [
        max(row["microseconds"][str(b)] / min(row["microseconds"].values()) for row in rows) for b in budgets
    ]
    # Small tiles leave room for a neighbour in the cache, and for many devices in a grid.
    return rows, next(b for b, ratio in zip(budgets, slower, strict=True) if ratio < 1.1 * min(slower))


def lanes_tile_bytes(rounds: int):
    return tile_bytes("lanes", [2**k * 2**10 for k in (8, 9, 10, 12)], rounds)


def xla_tile_bytes(rounds: int):
    return tile_bytes("xla", [k * 10 * 2**10 for k in (4, 8, 16, 32, 64)], rounds)


MEASUREMENTS = (
    lanes_most_state_bytes,
    lanes_most_scratch_bytes,
    lanes_tile_bytes,
    whole_least_bytes,
    xla_tile_bytes,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [measurement.__name__ for measurement in MEASUREMENTS]
    parser.add_argument("--only", nargs="*", default=names, choices=names)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="make them the thresholds of this checkout")
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 1)
    record = json.loads(thresholds.FILE.read_text())
    for measurement in MEASUREMENTS:
        name = measurement.__name__
        if name not in options.only:
            continue
        rows, value = measurement(options.rounds)
        print(f"{name}: {value} (was {record[name]['value']})")
        for row in rows:
            print("  ", row, flush=True)
        record[name] |= {"value": value, "rows": rows, "processor": table.processor()}
        if options.write:
            thresholds.FILE.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
