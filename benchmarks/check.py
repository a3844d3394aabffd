"""Compare speed ratios with the committed ones: `make bench-check`; `--write` commits those of this machine.

Ratios to the plain vmap, to loops and to the C kernel, never times. Exit code 1 if one fell by over 20 %.
"""

import argparse
import json
import sys
from pathlib import Path

from dysonjax.bench import table
from dysonjax.bench.regression import regressions

FILE = Path(__file__).parent / "ratios.json"
# What users run, one line each: label -> benchmark and options.
CASES = {
    "teacher-student": ("teacher-student", {}),
    "teacher-student all": ("teacher-student", {"train": "all"}),
    "teacher-student independent": ("teacher-student", {"randomness": "independent", "seeds": 2}),
    "rbm gibbs": ("rbm", {"sampler": "gibbs"}),
    "rbm collapsed": ("rbm", {"sampler": "collapsed"}),
    "linear": ("linear", {}),
    "nanogpt": ("nanogpt", {}),
    # Trajectories to 1 %: the number of steps that this takes is measured as well.
    "dyson": ("dyson", {"only": ("safeguarded_euler", "numpy_loop", "tamed_numpy_loop")}),
    "samplers": ("samplers", {}),
    "statistics permutation": ("statistics", {"task": "permutation"}),
    "statistics power-law": ("statistics", {"task": "power-law"}),
    "statistics ratios": ("statistics", {"task": "ratios"}),
    "statistics marchenko-pastur": ("statistics", {"task": "marchenko-pastur"}),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the ratios instead of comparing")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    if not (FILE.exists() or options.write):
        print(f"there are no ratios to compare with; run with --write to make {FILE.name}", file=sys.stderr)
        return 2
    committed = json.loads(FILE.read_text()) if FILE.exists() else {"ratios": {}}
    measured, chosen, rates = {}, {}, {}
    for case in options.cases:
        name, settings = CASES[case]
        print(f"{case} ...", flush=True)
        found = table.run(name, repetitions=options.repetitions, say=lambda text: None, **settings)
        measured[case] = {variant: float(f"{ratio:.3g}") for variant, ratio in found["ratios"].items()}
        rates[case] = float(f"{found['net_steps_per_second']:.3g}")
        print(f"  {found['net_steps_per_second']:.3g} {found['unit']}, ratios {measured[case]}", flush=True)
        # PyTorch and others need not be installed here.
        before = committed["ratios"].get(case, {})
        chosen[case] = {name: ratio for name, ratio in before.items() if name not in found["unavailable"]}
    if options.write:
        record = {"processor": table.processor(), "versions": table.versions()}
        record |= {"rates": committed.get("rates", {}) | rates, "ratios": committed["ratios"] | measured}
        FILE.write_text(json.dumps(record, indent=2) + "\n")
        return 0
    found = regressions(measured, chosen)
    print("\n".join(found) if found else "no ratio fell by more than 20 %")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
