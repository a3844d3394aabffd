"""The benchmarks by name, and their results as a record: rates, ratios, versions, device."""

import importlib
import platform
from collections.abc import Callable, Mapping
from types import ModuleType

from dysonjax import checks
from dysonjax.bench import frame

MODULES = {
    "teacher-student": "dysonjax.bench.teacher_student",
    "rbm": "dysonjax.bench.rbm",
    "linear": "dysonjax.bench.linear",
    "spikes": "dysonjax.bench.spikes",
    "nanogpt": "dysonjax.bench.nanogpt",
    "dyson": "dysonjax.bench.dyson",
    "samplers": "dysonjax.bench.samplers",
    "statistics": "dysonjax.bench.statistics",
}


def run(
    name: str,
    repetitions: int = 5,
    say: Callable[[str], None] = print,
    only: tuple[str, ...] = (),
    **options: str | int,
) -> dict:
    """Measure all variants (or `only` some) of one benchmark in one run on the same cores.

    options: sizes (seeds, steps) and options of the benchmark, see its module; by default a repetition of the
    engine takes about a second on two cores. The engine always runs. Raises InputError for an unknown name,
    option or value.
    """
    module, setting = prepare(name, options)
    for variant in only:
        checks.one_of("only", variant, list(module.VARIANTS))
    repetitions = checks.positive_int("repetitions", repetitions)
    variants = [variant for variant in module.VARIANTS if not only or variant in ("engine", *only)]
    jobs = {variant: (variant, setting) for variant in variants}
    rates, missing = frame.measure(MODULES[name], jobs, repetitions, say)
    engine = rates["engine"].per_second
    others = {variant: rate.per_second for variant, rate in rates.items() if variant != "engine"}
    result = {
        "name": name,
        "unit": unit(module),
        "net_steps_per_second": engine,
        "baselines": others,
        "ratios": {variant: engine / rate for variant, rate in others.items()},
        "unavailable": missing,
        "variants": {variant: rate._asdict() for variant, rate in rates.items()},
        "members": module.POINTS * setting["seeds"],
        "cores": frame.cores(),
        **setting,
        "repetitions": repetitions,
        "processor": processor(),
        "versions": versions(),
    }
    if hasattr(module, "flops"):
        result["flops_per_network_step"] = module.flops(setting)
    if hasattr(module, "normals"):
        result["normals_per_seed_step"] = module.normals(setting)
    return result


def prepare(name: str, options: Mapping[str, str | int]) -> tuple[ModuleType, dict]:
    """The benchmark's module and its setting: its defaults, with `options` in their place."""
    checks.one_of("name", name, list(MODULES))
    module = importlib.import_module(MODULES[name])
    for option in options:
        if option not in {*module.DEFAULTS, *module.OPTIONS}:
            allowed = ", ".join([*module.DEFAULTS, *module.OPTIONS])
            raise checks.InputError(f"the benchmark {name} has no option {option}; its options: {allowed}")
    sizes = module.DEFAULTS | {size: options[size] for size in module.DEFAULTS if size in options}
    setting: dict[str, int | str] = {size: checks.positive_int(size, value) for size, value in sizes.items()}
    for option, values in module.OPTIONS.items():
        setting[option] = checks.one_of(option, str(options.get(option, values[0])), list(values))
    return module, setting


def unit(module: ModuleType) -> str:
    """Of a benchmark's rates."""
    return getattr(module, "UNIT", "network-steps/s")


def versions() -> dict[str, str]:
    """Of what the variants run on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("jax", "jaxlib", "numpy", "scipy", "torch", "diffrax", "beta-ensembles", "powerlaw"):
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
