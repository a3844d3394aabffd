"""The table of calibration in docs/validation.md: `python -m tests.calibration.table [--write] [WORD ...]`.

Without words all cases are run, with words those whose name contains one of them (nothing is written then).
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.calibration.cases import all_cases
from tests.calibration.frame import run

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"
BEGIN, END = "<!-- calibration -->", "<!-- end of calibration -->"


def _run(index: int):
    return run(all_cases()[index])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--write", action="store_true", help="put the table into docs/validation.md")
    arguments = parser.parse_args()
    wanted = [
        index
        for index, case in enumerate(all_cases())
        if not arguments.words or any(word in case.name for word in arguments.words)
    ]
    rows, good = ["| statistic | measured in 500 repetitions, unless said | |", "|---|---|---|"], True
    with ProcessPoolExecutor(2) as pool:
        for outcome in pool.map(_run, wanted):
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
