"""Whether trajectories had the time to go from well to well."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from dysonjax.dyson.coulomb_gas import CoulombGas
from dysonjax.dyson.integrate import Path

ENOUGH = 3.0  # crossings of a member after which its start is forgotten
DOUBT = 1e-3  # p-value below which the wells are not filled as the law says
FEW = 5  # members and draws that an occupation should have in a χ² test


class Mixing(NamedTuple):
    """How levels moved between wells.

    Attributes
    ----------
    wells : int
        Number of places that barriers separate.
    crossings : float
        Mean number of passages of a member over a barrier, as seen between records: some are missed.
    p_value : float
        Of a χ² test whether the wells are filled at the end as in the stationary law. Members are the unit.
    mixed : bool or None
        True where members crossed often enough to forget their start. False where they did not and the wells
        are filled differently, so that the end tells of the start. None where neither holds: the start may
        have been filled like the law.
    """

    wells: int
    crossings: float
    p_value: float
    mixed: bool | None


def mixing(gas: CoulombGas, path: Path, stationary: np.ndarray) -> Mixing | None:
    """Whether trajectories had the time to go from well to well.

    Parameters
    ----------
    gas : CoulombGas
        The law towards which the trajectories go.
    path : Path
        Trajectories, of levels with shape (members, records, levels).
    stationary : array, shape (n, levels)
        Independent draws of the law of `gas`.

    Returns
    -------
    Mixing or None
        None for a law with one well.

    Examples
    --------
    Trajectories that stay in the left one of two wells, although the law fills both:

    >>> gas = dj.dyson.CoulombGas(dj.dyson.quartic(stiffness=1.0, omega=-4.0), g2=0.2, n=1)
    >>> stuck = dj.dyson.Path(np.full((200, 2, 1), -2.0), np.arange(2.0), "implicit", 1, 1.0, 0.0, 0.0)
    >>> found = dj.dyson.mixing(gas, stuck, gas.sample(0, 200))
    >>> found.wells, found.crossings, found.mixed
    (2, 0.0, False)
    """
    if gas.one_maximum or not gas.maxima.barriers.size:
        return None
    barriers = gas.maxima.barriers
    below = (path.levels[..., None] < barriers).sum(axis=2)  # (members, records, barriers)
    crossings = np.abs(np.diff(below, axis=1)).sum(axis=(1, 2)).mean()
    p_value = occupation_p(below[:, -1], (stationary[..., None] < barriers).sum(axis=1))
    mixed = True if crossings >= ENOUGH else None if p_value > DOUBT else False
    return Mixing(barriers.size + 1, float(crossings), p_value, mixed)


def occupation_p(first: np.ndarray, second: np.ndarray) -> float:
    """p-value of a χ² test whether two sets of occupations, (members, barriers), have one law."""
    _, which = np.unique(np.concatenate([first, second]), axis=0, return_inverse=True)
    which = which.ravel()
    table = np.stack([np.bincount(part, minlength=which.max() + 1) for part in np.split(which, [len(first)])])
    share = table.sum(axis=1, keepdims=True) / table.sum()
    rare = (table.sum(axis=0) * share).min(axis=0) < FEW
    table = np.concatenate([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)], axis=1)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 1.0
    return float(stats.chi2_contingency(table, correction=False).pvalue)
