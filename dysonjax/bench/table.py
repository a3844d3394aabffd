"""The benchmarks by name, and their results as a record: rates, ratios, versions, device."""

import importlib
import platform
from collections.abc import Callable

from dysonjax import checks
from dysonjax.bench import frame

MODULES = {
    "teacher-student": "dysonjax.bench.teacher_student",
    "rbm": "dysonjax.bench.rbm",
    "linear": "dysonjax.bench.linear",
    "nanogpt": "dysonjax.bench.nanogpt",
}
# Members at each seed, and what keeps one repetition of the engine near a second on two cores.
DEFAULTS = {"teacher-student": (8, 4000), "rbm": (64, 500), "linear": (64, 10_000), "nanogpt": (4, 60)}


def run(
    name: str,
    seeds: int | None = None,
    steps: int | None = None,
    repetitions: int = 5,
    say: Callable[[str], None] = print,
    only: tuple[str, ...] = (),
    **options: str,
) -> dict:
    """Measure all variants (or `only` some) of one benchmark in one run on the same cores.

    seeds, steps: the size; default: one second a repetition on two cores. options: of the benchmark, see its
    module. The engine always runs. Raises InputError for an unknown name, option or value.
    """
    checks.one_of("name", name, list(MODULES))
    module = importlib.import_module(MODULES[name])
    setting = {
        "seeds": checks.positive_int("seeds", DEFAULTS[name][0] if seeds is None else seeds),
        "steps": checks.positive_int("steps", DEFAULTS[name][1] if steps is None else steps),
    }
    for option in options:
        if option not in module.OPTIONS:
            allowed = ", ".join(module.OPTIONS) or "none"
            raise checks.InputError(f"the benchmark {name} has no option {option}; its options: {allowed}")
    for option, values in module.OPTIONS.items():
        setting[option] = checks.one_of(option, options.get(option, values[0]), list(values))
    variants = [variant for variant in module.VARIANTS if not only or variant in ("engine", *only)]
    repetitions = checks.positive_int("repetitions", repetitions)
    rates, missing = frame.measure(MODULES[name], variants, setting, repetitions, say)
    engine = rates["engine"].per_second
    others = {variant: rate.per_second for variant, rate in rates.items() if variant != "engine"}
    result = {
        "name": name,
        "net_steps_per_second": engine,
        "baselines": others,
        "ratios": {variant: engine / rate for variant, rate in others.items()},
        "unavailable": missing,
        "variants": {variant: rate._asdict() for variant, rate in rates.items()},
        "flops_per_network_step": module.flops(setting),
        "members": rates["engine"].network_steps // setting["steps"],
        "cores": frame.cores(),
        **setting,
        "repetitions": repetitions,
        "processor": processor(),
        "versions": versions(),
    }
    if hasattr(module, "normals"):
        result["normals_per_seed_step"] = module.normals(setting)
    return result


def versions() -> dict[str, str]:
    """Of what the variants run on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("jax", "jaxlib", "numpy", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
