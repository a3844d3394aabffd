"""Write the tables of measured numbers into the pages, from the files that commands have written.

`python docs/numbers.py` renews all of them. What writes the files: `python benchmarks/check.py --write`.
"""

import json
import re
from pathlib import Path

DOCS = Path(__file__).parent
RATIOS = DOCS.parent / "benchmarks" / "ratios.json"
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
    found = json.loads(RATIOS.read_text())
    rows = [["work", "network-steps/s", *VARIANTS.values()]]
    for case, name in CASES.items():
        ratios = {OTHER.get((case, variant), variant): r for variant, r in found["ratios"][case].items()}
        cells = {v: _number(r) + WORDS.get((case, v), "") for v, r in ratios.items()}
        rows.append([name, _rate(found["rates"].get(case)), *(cells.get(v, "") for v in VARIANTS)])
    return _table(rows)


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{float(f'{value:.3g}'):.0f}" if value >= 100 else f"{value:.3g}"


def _rate(value: float | None) -> str:
    if value is None:
        return "not kept"
    return f"{value / 1e6:.3g} M" if value >= 1e5 else f"{value:.3g}"


def _table(rows: list[list[str]]) -> str:
    rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


TABLES = {"performance.md": {"speeds": speeds}}  # page: name of the markers: what stands between them


def renewed(page: str) -> str:
    """The text of a page with its tables as the files are now."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, table in TABLES[page].items():
        marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
        text, count = re.subn(
            f"(?<={marks[0]}\n).*?(?={marks[1]})", lambda _, made=table: made() + "\n", text, flags=re.S
        )
        if count != 1:
            raise ValueError(f"docs/{page} needs {marks[0]} and {marks[1]} once")
    return text


if __name__ == "__main__":
    for page in TABLES:
        (DOCS / page).write_text(renewed(page), encoding="utf-8")
