"""Levels of the two largest matrices of every given checkpoint beside those of `numpy.linalg.svd`.

    python benchmarks/published_checkpoints.py FILE ...

Prints tensors, matrices and the largest difference of a level from the square of NumPy's singular value, in
units of the largest one; ends with 1 if one exceeds a millionth. Files that are refused are named with the
reason. Packages that ship some are in docs/how-to/spectra-of-a-network.md.
"""

import sys

import numpy as np

from dysonjax.checks import InputError
from dysonjax.spectra.singular_values import squared_singular_values
from dysonjax.weights import open_checkpoint, plan


def main() -> None:
    worst = 0.0
    for path in sys.argv[1:]:
        try:
            planned = plan(open_checkpoint(path))
        except InputError as error:
            print(f"{path}: refused, {error}")
            continue
        largest = sorted(planned.matrices, key=lambda m: -m.members * m.inputs * m.outputs)[:2]
        off = [difference(matrix.read()) for matrix in largest]
        worst = max([worst, *off])
        print(
            f"{path}: {len(planned.accounts)} tensors, {len(planned.matrices)} matrices; "
            + ", ".join(f"{m.name} {x:.1g}" for m, x in zip(largest, off, strict=True))
        )
    print(f"largest difference: {worst:.1g}")
    sys.exit(worst > 1e-6)


def difference(weights: np.ndarray) -> float:
    """Largest |x − s²| over the largest s² of the same matrix."""
    exact = np.linalg.svd(weights.astype(np.float64), compute_uv=False)[:, ::-1] ** 2
    return float((np.abs(squared_singular_values(weights) - exact) / exact[:, -1:]).max())


if __name__ == "__main__":
    main()
