"""The table of calibration in docs/validation.md: `python -m tests.calibration.table [--write] [WORD ...]`.

Without words all cases are run, with words those whose name contains one of them (nothing is written then).
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np

from tests.calibration.cases import all_cases
from tests.calibration.frame import run

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"
BEGIN, END = "<!-- calibration -->", "<!-- end of calibration -->"


def _run(index: int, longest: float):
    """One case; None if it would take longer than that many seconds, by its second repetition."""
    case = all_cases()[index]
    case.experiment(np.random.default_rng(0))
    begin = time.perf_counter()
    case.experiment(np.random.default_rng(1))
    if (time.perf_counter() - begin) * case.repetitions > longest:
        return None
    return run(case)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--write", action="store_true", help="put the table into docs/validation.md")
    parser.add_argument("--longest", type=float, default=np.inf, help="leave out cases above so many seconds")
    arguments = parser.parse_args()
    wanted = [
        index
        for index, case in enumerate(all_cases())
        if not arguments.words or any(word in case.name for word in arguments.words)
    ]
    rows, good = ["| statistic | measured in 500 repetitions, unless said | |", "|---|---|---|"], True
    with ProcessPoolExecutor(2) as pool:
        for index, outcome in zip(wanted, pool.map(_run, wanted, repeat(arguments.longest)), strict=True):
            if outcome is None:
                rows.append(
                    f"| {all_cases()[index].name} | left out: takes over {arguments.longest:.0f} s | |"
                )
                print(rows[-1], flush=True)
                continue
            rows.append(f"| {outcome.name} | {outcome.measured} | {'' if outcome.holds else '**off**'} |")
            print(rows[-1], flush=True)
            good &= outcome.holds
    if arguments.write and not arguments.words:
        text = PAGE.read_text()
        start, stop = text.index(BEGIN) + len(BEGIN), text.index(END)
        PAGE.write_text(text[:start] + "\n" + "\n".join(rows) + "\n" + text[stop:])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
