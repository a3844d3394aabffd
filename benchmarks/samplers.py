"""Exact β-Hermite samples beside the `beta-ensembles` package: microseconds a draw, medians in one run."""

import statistics
import time

import jax
from beta_ensembles import gaussian

from dysonjax import spectra

LEVELS, DRAWS, REPETITIONS = 100, 2000, 5


def microseconds(work) -> float:
    """Median time of one draw."""
    work(0)
    times = []
    for repetition in range(1, REPETITIONS + 1):
        begin = time.perf_counter()
        work(repetition)
        times.append(time.perf_counter() - begin)
    return 1e6 * statistics.median(times) / DRAWS


def main() -> None:
    for beta in (1, 2, 4):

        def ours(seed, beta=beta):
            spectra.sample_beta_hermite(jax.random.key(seed), LEVELS, float(beta), 1.0, (DRAWS,))

        def theirs(seed, beta=beta):
            gaussian.spectra(beta, LEVELS, DRAWS, verbose=False)

        a, b = microseconds(ours), microseconds(theirs)
        print(f"beta = {beta}: dysonjax {a:.0f} us a draw, beta-ensembles {b:.0f} us, ratio {b / a:.2f}")


if __name__ == "__main__":
    main()
