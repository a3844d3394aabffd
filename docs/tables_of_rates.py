"""Tables of rates: on CPUs, on GPUs, and of the first picture."""

import re

import measured
from measured import load, number, rate, table

CASES = {  # of benchmarks/check.py
    "teacher-student": "teacher–student, published grid",
    "teacher-student all": 'teacher–student, `train="all"`',
    "teacher-student independent": "teacher–student, independent data",
    "rbm gibbs": "RBM, gibbs, published setting",
    "rbm collapsed": "RBM, collapsed",
    "linear": "linear 2×2",
    "nanogpt": "nano-GPT, batch 16",
}
VARIANTS = {
    "xla": "XLA",
    "plain_vmap": "plain vmap",
    "numpy_loop": "NumPy loop",
    "torch_loop": "PyTorch loop",
    "limit": "C kernel",
}
OTHER = {("nanogpt", "flax_loop"): "plain_vmap"}  # in the column of its kind
WORDS = {("nanogpt", "plain_vmap"): " (one-network flax loop)", ("nanogpt", "limit"): " (products alone)"}


def speeds() -> str:
    """Rates of the engine, and how much faster it is than each variant."""
    found = load(measured.RATIOS)
    rows = [["work", "network-steps/s", *VARIANTS.values()]]
    for case, name in CASES.items():
        ratios = {OTHER.get((case, variant), variant): r for variant, r in found["ratios"][case].items()}
        cells = {v: number(r) + WORDS.get((case, v), "") for v, r in ratios.items()}
        rows.append([name, rate(found["rates"].get(case)), *(cells.get(v, "") for v in VARIANTS)])
    return table(rows[0], rows[1:])


def speed() -> str:
    """What the README says of the rates on a CPU."""
    found = load(measured.RATIOS)
    rates = {case: rate(value) for case, value in found["rates"].items()}
    ratios = found["ratios"]
    student, gibbs, gpt = ratios["teacher-student"], ratios["rbm gibbs"], ratios["nanogpt"]
    by_xla = sorted(one["xla"] for one in ratios.values() if "xla" in one)
    return (
        f"On two (virtual) CPU cores: {rates['teacher-student']} network-steps/s for the published grid, "
        f"{number(student['plain_vmap'])} times the plain `vmap`, {number(student['numpy_loop'])} times the "
        f"NumPy loop and {number(student['limit'])} times the C kernel;\n"
        f"the RBM {rates['rbm gibbs']}, {number(gibbs['torch_loop'])} times a PyTorch loop; "
        f"the linear network {rates['linear']}; "
        f"the nano-GPT {rates['nanogpt']}, {number(gpt['torch_loop'])} times PyTorch.\n"
        f"XLA alone is {number(by_xla[0])} to {number(by_xla[-1])} times slower."
    )


def first_picture() -> str:
    """Seconds of `dysonjax phase-diagram`, and how much CPU each way takes beside a warm run.

    On a machine that had other work, seconds of wall time say nothing and are left out.
    """
    record = load(measured.PICTURE)
    found, usual = record["seconds"], record["seconds"]["warm"]["cpu"]["median"]
    kinds = {"wall": "s", "cpu": "s of CPU"}
    if record["load"] > record["cores"] / 2:
        del kinds["wall"]
    heads = ["run", *(f"{unit}, {which}" for unit in kinds.values() for which in ("least", "median"))]
    rows = [
        [way, *(f"{one[kind][which]:.1f}" for kind in kinds for which in ("least", "median")),
         f"{one['cpu']['median'] / usual:.2f}"]
        for way, one in found.items()
    ]  # fmt: skip
    return table([*heads, "CPU over warm"], rows)


def calls() -> str:
    """Seconds of the first and the second `dj.train` in one process."""
    found = load(measured.PICTURE)["calls"]
    rows = [
        [model, *(f"{of[model][which]:.2f}" for of in found.values() for which in ("first", "second"))]
        for model in found["now"]
    ]
    heads = [f"{which} call{', the version before' * (way == 'before')}, s"
             for way in found for which in ("first", "second")]  # fmt: skip
    return table(["model", *heads], rows)


def device_results() -> list[tuple[str, dict]]:
    """What was measured on GPUs: names of the files and what they hold, the newest first."""
    paths = sorted(
        measured.DEVICE.glob("*.json"), key=lambda path: int(path.stem.rpartition("-")[2]), reverse=True
    )
    return [(path.stem, load(path)) for path in paths]


def newest(section: str) -> dict[str, tuple[str, dict]]:
    """Of each entry of a section the newest that was measured, and its file, without what failed."""
    found: dict[str, tuple[str, dict]] = {}
    for stem, result in device_results():
        for name, entry in result.get(section, {}).items():
            if name not in found and isinstance(entry, dict) and "error" not in entry:
                found[name] = stem, entry
    first = [name for _, result in reversed(device_results()) for name in result.get(section, {})]
    return dict(sorted(found.items(), key=lambda one: first.index(one[0])))


def gpu_rates() -> str:
    """The kernel that the engine takes, the fastest that was tried, and XLA."""
    rows = []
    for name, (stem, entry) in newest("rates").items():
        ways = {key: way.get("rate") if isinstance(way, dict) else way for key, way in entry.items()}
        ways = {key: rate for key, rate in ways.items() if " threads " in key and rate}
        if not ways:
            continue
        best, xla = max(ways.values()), entry.get("XLA")
        goal = rate(entry["goal"]) if entry.get("goal") else ""
        # The first file did not keep which one the engine takes: the fastest stands for it.
        chosen = entry.get("chosen") or max(ways, key=ways.__getitem__)
        taken = ways.get(chosen)
        threads, warps = re.match(r"(\d+) threads .*?(\d+) warps", chosen).groups()
        rows.append([
            name.replace(" x ", " × "), rate(taken), f"{threads} × {warps}", rate(best), rate(xla),
            f"{taken / xla:.0f}" if taken and xla else "", goal, stem,
        ])  # fmt: skip
    heads = ("ensemble, points × seeds", "kernel", "threads × warps", "fastest tried", "XLA", "kernel / XLA",
             "goal", "measured in")  # fmt: skip
    return table(heads, rows)


def gpu_runs() -> str:
    """Whole runs: the published grid, and nano-GPT ensembles in three precisions."""
    rows = []
    runs = [(name, found) for name, found in newest("runs").items() if "net_steps_per_second" in found[1]]
    runs += [(f"nano-GPT, {name}", found) for name, found in newest("nanogpt").items()]
    for name, (stem, entry) in runs:
        steps = f"{entry['steps']:.0e}".replace("e+0", "e") if "steps" in entry else ""
        seconds = f"{entry['seconds']:.3g} s"
        rows.append([name, steps, seconds, rate(entry["net_steps_per_second"]), stem])
    return table(("run", "steps", "time without compilation", "network-steps/s", "measured in"), rows)
