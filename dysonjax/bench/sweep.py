"""One benchmark at several numbers of members: rates of the variants, and what a member costs the engine."""

from collections.abc import Callable, Mapping, Sequence

from dysonjax import checks
from dysonjax.bench import frame, table

SEEDS = (1, 4, 16, 64, 256)  # of the figure
LONGEST = 100_000  # steps of a repetition for the figure


def rates(name: str, repetitions: int, say: Callable[[str], None], **options: str | int) -> list[dict]:
    """Members, and rates of engine and plain vmap, at each number of SEEDS; others do not depend on it."""
    module, setting = table.prepare(name, options)
    points = []
    for seeds in SEEDS:
        say(f"{module.POINTS * seeds} networks ...")
        sizes = {"seeds": seeds, "steps": min(LONGEST, _steps(setting, seeds, 50))}
        found = table.run(name, repetitions, lambda text: None, ("plain_vmap",), **dict(options) | sizes)
        per_second = {variant: rate["per_second"] for variant, rate in found["variants"].items()}
        points.append({"members": found["members"], "net_steps_per_second": per_second})
    return points


def cost(
    name: str, members: Sequence[int], repetitions: int, say: Callable[[str], None], **options: str | int
) -> dict:
    """Time and memory of the engine at several numbers of `members`, repetitions in turn.

    Members are rounded up to whole seeds on every core. Unless `steps` are given, each number does about four
    times the member-steps of the benchmark's default, so that what a run costs once is little, in a quarter
    of its steps at least. Keys: points, and flatness, the largest time of a member-step over the smallest,
    less 1. Memory is that of the whole process, Python and JAX included; bytes_per_member is what each number
    of members takes beyond the one before.
    """
    module, setting = table.prepare(name, options)
    repetitions = checks.positive_int("repetitions", repetitions)
    if not members:
        raise checks.InputError("members must be a list of numbers, as in 64,1000,10000")
    whole = module.POINTS * frame.cores()
    jobs = {}
    for number in sorted(checks.positive_int("members", number) for number in members):
        seeds = -(-number // whole) * frame.cores()
        sizes = {"seeds": seeds}
        if "steps" in setting:
            sizes["steps"] = options.get("steps") or 4 * _steps(setting, seeds, -(-setting["steps"] // 16))
        jobs[f"{module.POINTS * seeds} members"] = ("engine", setting | sizes)
    found, _ = frame.measure(table.MODULES[name], jobs, repetitions, say)
    points = [_point(module.POINTS, job, found[label]) for label, (_, job) in jobs.items()]
    for before, point in zip([None, *points], points, strict=False):
        more = before and point["members"] - before["members"]
        point["bytes_per_member"] = before and (point["peak_bytes"] - before["peak_bytes"]) / more
    times = [point["seconds_per_member_step"] for point in points]
    return {
        "name": name,
        "unit": table.unit(module),
        "points": points,
        "flatness": max(times) / min(times) - 1,
        "cores": frame.cores(),
        "processor": table.processor(),
        "versions": table.versions(),
    }


def _point(per_seed: int, setting: Mapping, rate: frame.Rate) -> dict:
    return {
        "members": per_seed * setting["seeds"],
        "steps": setting.get("steps"),
        "net_steps_per_second": rate.per_second,
        "seconds_per_member_step": 1 / rate.per_second,
        "seconds": rate.seconds,
        "peak_bytes": rate.peak_bytes,
    }


def _steps(setting: Mapping, seeds: int, fewest: int) -> int:
    """As much work as the setting has; few members would otherwise be over before a clock notices."""
    return max(fewest, setting["seeds"] * setting["steps"] // seeds)
