"""How often the verdicts of `dysonjax spectrum` are wrong on noise, and how often they see what is there.

    python benchmarks/verdicts.py [PART ...]     # noise, entries, spikes, tails or a row such as noise.3
    python docs/tables.py                        # puts the numbers into the pages

Counts of words are written to benchmarks/verdicts.json; rows that are not named stay as they are there. All
take two minutes of a core. Each row is judged against 20 different nulls, so that none decides.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from dysonjax.spectra.checkpoint import FEWEST_NULL, MAX_CANDIDATES
from dysonjax.spectra.fit_marchenko_pastur import fit_marchenko_pastur
from dysonjax.spectra.matrix_nulls import FOR_A_P_VALUE, matrix_nulls
from dysonjax.spectra.power_law import fit_power_law
from dysonjax.spectra.singular_values import squared_singular_values
from dysonjax.spectra.spikes import find_spikes
from dysonjax.spectra.verdict import LEVEL, verdict
from dysonjax.spectra.wishart_pool import gaussian_spectra

RESULTS = Path(__file__).with_name("verdicts.json")
NULLS = 20
REPLICATES = 200  # synthetic samples behind the p-value of a tail, as by default
NOISE = [  # members, rows, modes, ensembles
    (1, 64, 16, 2000), (1, 64, 64, 2000), (1, 256, 64, 2000), (1, 200, 200, 1500),
    (12, 64, 16, 1500), (12, 64, 64, 1000), (4, 256, 64, 1000),
]  # fmt: skip
DRAWN = {
    "Gaussian": lambda rng, shape: rng.normal(size=shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, size=shape),
    "Student's t, 5 degrees of freedom": lambda rng, shape: rng.standard_t(5, size=shape),
    "Student's t, 3 degrees of freedom": lambda rng, shape: rng.standard_t(3, size=shape),
}
ENTRIES = [(name, shape, 300) for name in DRAWN for shape in ((256, 64), (64, 64), (64, 256))]
SPIKES = [  # rows, columns, strengths in units of the transition, matrices
    (512, 128, (1.2,), 200), (512, 128, (1.5,), 200), (512, 128, (2.0,), 200),
    (256, 64, (4.0, 3.0, 2.0), 200), (256, 64, (8.0, 6.0, 5.0, 4.0, 3.0), 200),
]  # fmt: skip
LEVELS = {  # by inversion
    "power law, α = 2": lambda u: (1 - u) ** -1.0,
    "power law, α = 2.5": lambda u: (1 - u) ** (-1 / 1.5),
    "power law, α = 3.5": lambda u: (1 - u) ** (-1 / 2.5),
    "exponential": lambda u: -np.log1p(-u),
}
TAILS = [(name, 256, 1024, 200) for name in LEVELS]  # modes, rows, spectra


def judged(levels: np.ndarray, long: int, key: int):
    """Bulk, spikes and tail, as far as the words of `dysonjax spectrum` need them."""
    modes = levels.shape[1]
    bulk = fit_marchenko_pastur(levels, modes / long, n_resamples=2, key=key, n_null=FEWEST_NULL)
    tail = None
    if bulk.p_value <= LEVEL:
        ensemble = {"x": levels, "member_axis": -2} if len(levels) > 1 else {"x": levels.ravel()}
        tail = fit_power_law(n_resamples=REPLICATES, key=key, max_candidates=MAX_CANDIDATES, **ensemble)
    return bulk, find_spikes(levels, float(bulk.sigma2), long), tail


def noise(rng, members: int, long: int, modes: int, count: int) -> dict:
    """Gaussian matrices and ensembles of them."""
    words = Counter()
    for i in range(count):
        levels = gaussian_spectra(rng, long, modes, members) / long
        words[verdict(*judged(levels, long, i * NULLS // count))[0]] += 1
    return {"members": members, "rows": long, "modes": modes, "count": count, "words": words}


def entries(rng, name: str, shape: tuple[int, int], count: int) -> dict:
    """Independent entries of one law, without shuffled matrices and with them."""
    quick, full = Counter(), Counter()
    for i in range(count):
        w = DRAWN[name](rng, shape)
        found = judged(squared_singular_values(w[None]), max(shape), i * NULLS // count)
        word = verdict(*found)[0]
        quick[word] += 1
        if word.startswith("noise with"):
            nulls = matrix_nulls(w, float(squared_singular_values(w[None]).max()), FOR_A_P_VALUE, i)
            word = verdict(*found, nulls)[0]
        full[word] += 1
    return {"entries": name, "shape": shape, "count": count, "words": quick, "full": full}


def spikes(rng, long: int, columns: int, strengths: tuple[float, ...], count: int) -> dict:
    """Directions planted in noise."""
    words = Counter()
    for i in range(count):
        u, v = (np.linalg.qr(rng.normal(size=(n, len(strengths))))[0] for n in (long, columns))
        theta = np.asarray(strengths) * (columns / long) ** 0.25
        w = rng.normal(size=(long, columns)) / long**0.5 + (u * theta) @ v.T
        words[verdict(*judged(squared_singular_values(w[None]), long, i * NULLS // count))[0]] += 1
    return {"shape": (long, columns), "strengths": strengths, "count": count, "words": words}


def tails(rng, name: str, modes: int, long: int, count: int) -> dict:
    """Independent levels of a law without any bulk."""
    words = Counter()
    for i in range(count):
        x = np.sort(LEVELS[name](rng.random(modes)))[None]
        words[verdict(*judged(x, long, i * NULLS // count))[0]] += 1
    return {"levels": name, "modes": modes, "count": count, "words": words}


PARTS = {"noise": (noise, NOISE), "entries": (entries, ENTRIES), "spikes": (spikes, SPIKES),
         "tails": (tails, TAILS)}  # fmt: skip


def main(names: list[str]) -> None:
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in names or PARTS:
        part, _, only = name.partition(".")
        make, settings = PARTS[part]
        rows = kept.setdefault(part, [None] * len(settings))
        for row in [int(only)] if only else range(len(settings)):
            begin = time.process_time()
            with threadpool_limits(1, "blas"):
                rows[row] = make(np.random.default_rng([*part.encode(), row]), *settings[row])
            print(f"{time.process_time() - begin:.1f} s", rows[row], flush=True)
            RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
