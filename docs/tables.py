"""Write the tables of measured numbers into the pages, from the files that commands have written.

    python benchmarks/check.py --write     # benchmarks/ratios.json
    make device-check                      # on a machine with a GPU; its result.json becomes a file of
                                           # benchmarks/device/results, with the next number
    dysonjax figure released --released FOLDER --out runs/record
    python benchmarks/first_picture.py --write --before FOLDER   # the sources of the version before
    python docs/tables.py runs/record      # takes the summaries of that folder in, then renews all tables
    python benchmarks/verdicts.py          # benchmarks/verdicts.json
    python docs/tables.py                  # renews all tables

Kept of a summary is what may be published: our numbers with errors, theory, and means over released points
with z-scores; the released points themselves are left where they are.
"""

import json
import re
import sys
from pathlib import Path

from dysonjax.published import RECIPES

DOCS = Path(__file__).parent
NUMBERS = DOCS / "numbers"
RATIOS = DOCS.parent / "benchmarks" / "ratios.json"
PICTURE = DOCS.parent / "benchmarks" / "first_picture.json"
VERDICTS = DOCS.parent / "benchmarks" / "verdicts.json"
KEPT = ("name", "source", "scale", "networks", "steps", "version")
CHECK = ("name", "measured", "error", "expected", "systematic", "z")
DEVICE = DOCS.parent / "benchmarks" / "device" / "results"
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


def kept(summary: dict) -> dict:
    """The part of a figure's summary that stands in the documents."""
    return {
        **{key: summary[key] for key in KEPT if key in summary},
        "checks": [{key: check[key] for key in CHECK} for check in summary["checks"]],
        "released": summary.get("released", {}).get("rows", []),
    }


def take(folder: Path) -> None:
    """Keep the numbers of every figure that has a summary in the folder."""
    NUMBERS.mkdir(exist_ok=True)
    for path in sorted(folder.glob("*.json")):
        summary = json.loads(path.read_text(encoding="utf-8"))
        if summary.get("command") != "figure" or "checks" not in summary:
            continue
        scale = f"{summary['steps']}-steps" if summary["scale"] == "run" else summary["scale"]
        text = json.dumps(kept(summary), indent=1, ensure_ascii=False) + "\n"
        (NUMBERS / f"{summary['name']}-{scale}.json").write_text(text, encoding="utf-8")


def numbers() -> list[dict]:
    """What is kept, in the order of `dysonjax figure --list`, short runs first."""
    order = [recipe.name for recipe in RECIPES]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in NUMBERS.glob("*.json")]
    return sorted(found, key=lambda one: (order.index(one["name"]), one.get("steps", 0), one["scale"]))


def released_table() -> str:
    """Means over the released points beside ours."""
    rows = []
    for one in numbers():
        for row in one["released"]:
            rows.append([
                f"`{one['name']}`", row["source"].removeprefix("arXiv "), run(one),
                f"{row['quantity']}, {row['where']}", str(row["points"]),
                both(row["ours"], row["ours_err"]), both(row["released"], row["released_err"]),
                f"{row['z']:+.1f}", f"{row['largest_z']:+.1f}", f"{100 * row['within_3']:.0f} %",
                f"**{row['verdict']}**", row["why"],
            ])  # fmt: skip
    heads = ("figure", "arXiv", "networks × steps", "quantity", "points", "ours", "released", "z of the mean",
             "largest z", "within 3", "verdict", "why")  # fmt: skip
    return table(heads, rows)


def run(one: dict) -> str:
    """Networks at a point and steps, or the scale of a figure that does not say them."""
    if "steps" not in one:
        return one["scale"]
    return f"{one['networks']} × {one['steps']:.0e}".replace("e+0", "e")


def theory_table() -> str:
    """Every number that a figure holds against its line."""
    rows = [
        [f"`{one['name']}`", one["scale"], check["name"], both(check["measured"], check["error"]),
         both(check["expected"], check["systematic"]), "" if check["z"] is None else f"{check['z']:+.1f}"]
        for one in numbers()
        if one["scale"] != "run"
        for check in one["checks"]
    ]  # fmt: skip
    return table(("figure", "scale", "number", "measured", "theory", "z"), rows)


def speeds() -> str:
    """Rates of the engine, and how much faster it is than each variant."""
    found = json.loads(RATIOS.read_text())
    rows = [["work", "network-steps/s", *VARIANTS.values()]]
    for case, name in CASES.items():
        ratios = {OTHER.get((case, variant), variant): r for variant, r in found["ratios"][case].items()}
        cells = {v: number(r) + WORDS.get((case, v), "") for v, r in ratios.items()}
        rows.append([name, rate(found["rates"].get(case)), *(cells.get(v, "") for v in VARIANTS)])
    return table(rows[0], rows[1:])


def first_picture() -> str:
    """Seconds of `dysonjax phase-diagram`, and how much CPU each way takes beside a warm run.

    On a machine that had other work, seconds of wall time say nothing and are left out.
    """
    record = json.loads(PICTURE.read_text())
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
    return table([*heads, "CPU beside warm"], rows)


def verdicts(part: str) -> list[dict]:
    return json.loads(VERDICTS.read_text(encoding="utf-8"))[part]


def noise_verdicts() -> str:
    """What noise of each shape is called."""
    heads, columns = (
        ["matrices"],
        [["spectra", "with spikes", "heavy tail", "not described", "**not noise**"]],
    )
    for row in verdicts("noise"):
        ensemble = f"{row['members']} of " if row["members"] > 1 else ""
        heads.append(f"{ensemble}{row['rows']}×{row['modes']}")
        kinds = shares(row, "spikes", "heavy tail", "not described")
        columns.append([str(row["count"]), *kinds, share(row["count"] - row["words"]["noise"], row["count"])])
    return table(heads, list(zip(*columns, strict=True)))


def entry_verdicts() -> str:
    """What matrices of independent entries are called, without and with shuffled matrices."""
    rows = []
    for row in verdicts("entries"):
        words = shares(row, "noise", "spikes", "heavy tail", "not described")
        shuffled = shares({**row, "words": row["full"]}, "spikes", "noise with large entries")
        rows.append([row["entries"], times(row["shape"]), *words, *shuffled])
    heads = ["entries", "shape", "noise", "with spikes", "heavy tail", "not described"]
    return table([*heads, "shuffled: with spikes", "shuffled: large entries"], rows)


def spike_verdicts() -> str:
    """How often the planted number of spikes is the one that is found."""
    rows = []
    for row in verdicts("spikes"):
        planted, words = row["strengths"], row["words"]
        right = f"noise with {len(planted)} spike{'s' if len(planted) > 1 else ''}"
        other = sum(n for word, n in words.items() if word.startswith("noise with ") and word != right)
        found = shares({**row, "words": {**words, "other": other}}, right, "other", "noise", "not described")
        rows.append(
            [times(row["shape"]), ", ".join(f"{one:g}" for one in planted), str(row["count"]), *found]
        )
    heads = ["shape", "strengths, θ/θ_c", "matrices", "right number", "another number", "noise"]
    return table([*heads, "not described"], rows)


def tail_verdicts() -> str:
    """What levels without a bulk are called."""
    words = ("heavy tail", "not described", "noise", "spikes")
    rows = [[row["levels"], str(row["count"]), *shares(row, *words)] for row in verdicts("tails")]
    return table(["levels", "spectra", "heavy tail", "not described", "noise", "with spikes"], rows)


def shares(row: dict, *words: str) -> list[str]:
    """Of the words of a row; "spikes" are any number of them."""
    spikes = sum(n for word, n in row["words"].items() if word.endswith((" spike", " spikes")))
    counts = {"spikes": spikes, **row["words"]}
    return [share(counts.get(word, 0), row["count"]) for word in words]


def share(count: int, total: int) -> str:
    """Percent with its standard error, that of one more of either kind, so that 0 has one too."""
    p = (count + 1) / (total + 2)
    return f"{100 * count / total:.1f} ± {100 * (p * (1 - p) / total) ** 0.5:.1f} %"


def times(shape: list[int]) -> str:
    return "×".join(map(str, shape))


def device_results() -> list[tuple[str, dict]]:
    """What was measured on GPUs: names of the files and what they hold, the newest first."""
    paths = sorted(DEVICE.glob("*.json"), key=lambda path: int(path.stem.rpartition("-")[2]), reverse=True)
    return [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in paths]


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


def number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{float(f'{value:.3g}'):.0f}" if value >= 100 else f"{value:.3g}"


def rate(value: float | None) -> str:
    if value is None:
        return "not kept"
    if value >= 1e9:
        return f"{value / 1e9:.3g} G"
    return f"{value / 1e6:.3g} M" if value >= 1e5 else f"{number(value)}"


def both(value: float | None, error: float | None) -> str:
    """A number with its error, two digits of it."""
    if value is None:
        return "not measured"
    if not error:
        return f"{value:.4g}"
    digits = max(0, 1 - int(f"{error:.1e}".split("e")[1]))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def table(heads, rows) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (heads, ["---"] * len(heads), *rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in escaped)


def speed() -> str:
    """What the README says of the rates on a CPU."""
    found = json.loads(RATIOS.read_text())
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


TABLES = {  # page: names of its tables, and what makes them
    "../README.md": {"speed": speed},
    "performance.md": {
        "speeds": speeds,
        "first picture": first_picture,
        "gpu rates": gpu_rates,
        "gpu runs": gpu_runs,
    },
    "figures.md": {"released": released_table, "theory": theory_table},
    "how-to/spectra-of-a-network.md": {
        "noise": noise_verdicts,
        "entries": entry_verdicts,
        "spikes": spike_verdicts,
        "tails": tail_verdicts,
    },
}


def renewed(page: str, text: str | None = None) -> str:
    """The page with its tables as the files are now, between <!-- numbers: NAME --> and <!-- end -->."""
    text = (DOCS / page).read_text(encoding="utf-8") if text is None else text
    for name, make in TABLES[page].items():
        begin, end = f"<!-- numbers: {name} -->\n", "<!-- end -->"
        before, rest = text.split(begin)
        text = before + begin + "\n" + make() + "\n\n" + end + rest.split(end, 1)[1]
    return text


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        take(Path(folder))
    for page in TABLES:
        (DOCS / page).write_text(renewed(page), encoding="utf-8")
