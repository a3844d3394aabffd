"""The maxima of a Coulomb gas density: how many levels sit in which well.

Where every U_i is convex, log P is concave on ordered levels and has one maximum. Otherwise there is one for
every way to share the levels among the wells. From a maximum the search goes on with single levels: each is
moved, between its two neighbours, to every other local maximum of its own conditional density, and the whole
is climbed anew. In ordered levels only the outermost level of a well can change to the next well, so that
these moves connect all occupations; the best maxima are followed first.
"""

import heapq
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dysonjax.dyson.line import Line

EXPANSIONS = 120  # maxima whose neighbours are looked at
IRRELEVANT = 30.0  # a maximum this much lower in log weight is never visited by a sampler
POINTS = 3000
SHALLOW = 0.1  # depth of a barrier in log P below which it is none
AT_WALL = 1e-9  # distance at which a level counts as pressed against a wall


class Landscape(NamedTuple):
    """log P = β Σ log(x_j − x_i) − Σ U_i(x_i) on a domain.

    local: x of shape (rows, levels) -> (U_i, −U_i′, U_i″), each of that shape, numpy.
    """

    local: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
    beta: float
    levels: int
    line: Line


class Maximum(NamedTuple):
    """x: shape (levels,). height: log P there. weight: log of its share of the law, by Laplace's method.

    curvature: minus the Hessian, (levels, levels); of levels that a wall stops, the unit matrix.
    """

    x: np.ndarray
    height: float
    weight: float
    curvature: np.ndarray

    @property
    def width(self) -> np.ndarray:
        """Standard deviation of every level by the same method, shape (levels,)."""
        values, vectors = np.linalg.eigh(self.curvature)
        return np.sqrt(vectors**2 @ (1 / np.maximum(values, 1e-12 * np.abs(values).max())))


class Maxima(NamedTuple):
    """All maxima that matter, the highest first, and points between wells at which levels are counted."""

    found: tuple[Maximum, ...]
    barriers: np.ndarray


def find_maxima(landscape: Landscape) -> Maxima:
    """The maxima of log P; see above."""
    points, energy, slope = scan(landscape)
    starts = _starts(landscape, points, energy, slope)
    if _convex(points, slope):
        return Maxima(tuple(climb(landscape, starts[:1])), np.array([]))
    known = _distinct([], climb(landscape, starts))
    queue = [(-m.height, k) for k, m in enumerate(known)]
    heapq.heapify(queue)
    barriers = []
    for _ in range(EXPANSIONS):
        if not queue:
            break
        here = known[heapq.heappop(queue)[1]]
        moved, between = _neighbours(landscape, here.x, points, energy)
        if not moved:
            continue
        barriers += between
        before = len(known)
        known = _distinct(known, climb(landscape, np.stack(moved)))
        for k in range(before, len(known)):
            heapq.heappush(queue, (-known[k].height, k))
    known.sort(key=lambda m: -m.height)
    best = max(m.weight for m in known)
    relevant = [m for k, m in enumerate(known) if k == 0 or m.weight > best - IRRELEVANT]
    return Maxima(tuple(relevant), _thinned(np.array(barriers), np.stack([m.x for m in relevant])))


def one_maximum(landscape: Landscape) -> bool:
    """Whether all U_i are convex where levels may be, so that log P has one maximum."""
    points, _, slope = scan(landscape)
    return _convex(points, slope)


def scan(landscape: Landscape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points where levels may be, U_i and −U_i′ there: shapes (points,), (points, levels) twice.

    Logarithmic about zero or the walls first; then even about all points at which a force changes its sign.
    """
    line, n = landscape.line, landscape.levels

    def force(x):
        with np.errstate(all="ignore"):
            return landscape.local(np.repeat(x[:, None], n, axis=1))[:2]

    far = min(line.reach, 25.0)
    x = np.unique(line.x(np.linspace(-far, far, 2001)))
    x = x[(x > line.lower) & (x < line.upper)]
    energy, slope = force(x)
    turns = np.flatnonzero(np.any((slope[:-1] > 0) != (slope[1:] > 0), axis=1))
    if turns.size:
        first, last = max(turns[0] - 1, 0), min(turns[-1] + 2, len(x) - 1)
        x = np.unique(np.concatenate([x, np.linspace(x[first], x[last], POINTS)]))
        energy, slope = force(x)
    usable = np.isfinite(slope).any(axis=1) & np.isfinite(energy).any(axis=1)
    x, energy, slope = x[usable], np.nan_to_num(energy[usable], nan=np.inf), slope[usable]
    # Levels are never where even the repulsion of all others does not bring them.
    reward = landscape.beta * n * np.log1p(np.abs(x - x[np.argmin(energy.min(axis=1))]))
    allowed = np.any(energy - reward[:, None] < np.min(energy, axis=0) + 60 + 5 * landscape.beta * n, axis=1)
    allowed |= np.convolve(allowed, np.ones(3), "same") > 0
    return x[allowed], energy[allowed], slope[allowed]


def climb(landscape: Landscape, x: np.ndarray, steps: int = 200) -> list[Maximum]:
    """Maxima of log P from starts of shape (starts, levels): Newton steps, damped where not concave."""
    x = np.array(x, np.float64)
    damping = np.full(len(x), 1e-3)
    height, slope, curvature = _expand(landscape, x)
    active = np.ones(len(x), bool)
    for _ in range(steps):
        slope, curvature = _held(landscape.line, x, slope, curvature)
        scale = np.abs(np.einsum("bii->bi", curvature)) + 1e-300
        values, vectors = np.linalg.eigh(curvature / np.sqrt(scale[:, :, None] * scale[:, None, :]))
        # In units of each level's own width negative directions are climbed as positive ones.
        values = np.maximum(np.abs(values), 1e-8) + damping[:, None]
        scaled = slope / np.sqrt(scale)
        step = np.einsum("bij,bj->bi", vectors, np.einsum("bji,bj->bi", vectors, scaled) / values)
        step = step / np.sqrt(scale)
        share = _room(landscape.line, x, step)
        trial = x + share[:, None] * step
        new = _expand(landscape, trial)
        tolerance = 1e-13 * (1 + np.abs(height))
        better = active & np.isfinite(new[0]) & (new[0] >= height - tolerance)
        with np.errstate(invalid="ignore"):
            gained = np.where(better, new[0] - height, np.inf)
        x = np.where(better[:, None], trial, x)
        height = np.where(better, new[0], height)
        slope = np.where(better[:, None], new[1], slope)
        curvature = np.where(better[:, None, None], new[2], curvature)
        damping = np.clip(np.where(better, damping / 10, damping * 10), 1e-14, 1e14)
        moved = np.abs(share[:, None] * step) * np.sqrt(scale)
        active &= ~(better & (moved.max(axis=1) < 1e-9) & (gained < 1e-9)) & (damping < 1e13)
        if not active.any():
            break
    curvature = _held(landscape.line, x, slope, curvature)[1]
    values = np.linalg.eigvalsh(curvature)
    values = np.maximum(values, 1e-12 * np.abs(values).max(axis=1, keepdims=True))
    weight = height - 0.5 * np.log(values).sum(axis=1)
    rows = zip(x, height, weight, curvature, strict=True)
    return [Maximum(*row) for row in rows if np.isfinite(row[1])]


def _held(line: Line, x, slope, curvature):
    """Gradient and curvature without the levels that are pressed against a wall: they stay there."""
    slope, curvature = slope.copy(), curvature.copy()
    for wall, column, inwards in ((line.lower, 0, 1), (line.upper, -1, -1)):
        if np.isfinite(wall):
            near = inwards * (x[:, column] - wall) < AT_WALL * (1 + abs(wall))
            held = near & (inwards * slope[:, column] <= 0)
            slope[held, column] = 0.0
            curvature[held, column, :] = 0.0
            curvature[held, :, column] = 0.0
            curvature[held, column, column] = 1.0
    return slope, curvature


def _expand(landscape: Landscape, x: np.ndarray):
    """log P, its gradient and minus its Hessian at x of shape (rows, levels)."""
    with np.errstate(all="ignore"):
        energy, force, stiffness = landscape.local(x)
        distance = x[:, :, None] - x[:, None, :]
        diagonal = np.arange(x.shape[1])
        distance[:, diagonal, diagonal] = np.inf
        pairs = np.triu_indices(x.shape[1], 1)
        height = landscape.beta * np.log(-distance[:, *pairs]).sum(axis=1) - energy.sum(axis=1)
        slope = landscape.beta * (1 / distance).sum(axis=2) + force
        pull = landscape.beta / distance**2
        curvature = -pull
        curvature[:, diagonal, diagonal] = pull.sum(axis=2) + stiffness
    usable = np.isfinite(slope).all(axis=1) & np.isfinite(curvature).all(axis=(1, 2))
    height = np.where(usable, height, -np.inf)
    return height, np.where(usable[:, None], slope, 0.0), np.where(usable[:, None, None], curvature, 1.0)


def _room(line: Line, x: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The part of the step that leaves a tenth of every gap, shape (rows,)."""
    closing = np.zeros(len(x))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if x.shape[1] > 1:
            closing = np.max((step[:, :-1] - step[:, 1:]) / np.diff(x, axis=1), axis=1)
        if np.isfinite(line.lower):
            closing = np.maximum(closing, -step[:, 0] / (x[:, 0] - line.lower))
        if np.isfinite(line.upper):
            closing = np.maximum(closing, step[:, -1] / (line.upper - x[:, -1]))
        return np.where(closing > 0.9, 0.9 / closing, 1.0)


def _convex(points: np.ndarray, slope: np.ndarray) -> bool:
    """Whether every force falls all the way, so that log P has one maximum."""
    with np.errstate(all="ignore"):
        rise = np.diff(slope, axis=0) / np.diff(points)[:, None]
        scale = 1e-9 * (np.abs(slope[1:]) + np.abs(slope[:-1])) / np.diff(points)[:, None]
    return not np.any(rise > scale + 1e-300)


def _starts(landscape: Landscape, points, energy, slope) -> np.ndarray:
    """Ordered levels in the domain: each in its deepest well, all in one well, and evenly over all wells."""
    n, line = landscape.levels, landscape.line
    deepest = np.maximum.accumulate(points[np.argmin(energy, axis=0)])
    down = (slope[:-1] > 0) & (slope[1:] <= 0)
    wells = np.unique(points[:-1][down.any(axis=1)])
    if len(wells) > 12:
        wells = wells[np.linspace(0, len(wells) - 1, 12).astype(int)]
    centers = [deepest, *(np.full(n, well) for well in wells)]
    if len(wells) > 1:
        centers.append(np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(wells)), wells))
    starts = []
    for center in centers:
        with np.errstate(all="ignore"):
            stiffness = landscape.local(center[None])[2]
        width = 1 / np.sqrt(max(float(np.median(stiffness)), 1e-12)) if np.isfinite(stiffness).all() else 1.0
        stretch = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        x = center + np.sqrt(landscape.beta * n) * min(width, 1 + np.ptp(points)) * stretch
        starts.append(_inside(line, x, float(np.median(center))))
    return np.stack(starts)


def _inside(line: Line, x: np.ndarray, center: float | None = None) -> np.ndarray:
    """x moved into the domain without changing its order."""
    low, high = np.isfinite(line.lower), np.isfinite(line.upper)
    if low and high:
        width = line.upper - line.lower
        center = 0.5 * (line.lower + line.upper) if center is None else center
        share = np.clip((center - line.lower) / width, 1e-3, 1 - 1e-3)
        return line.x(_bounded(4 * (x - center) / width) + np.log(share / (1 - share)))
    if low or high:
        wall, sign = (line.lower, 1) if low else (line.upper, -1)
        room = max(abs(center - wall), 1e-9) if center is not None else 1.0
        z = sign * (x - (wall if center is None else center)) / room
        return wall + sign * room * np.exp(_bounded(z))
    return x


def _bounded(z: np.ndarray, largest: float = 3.0) -> np.ndarray:
    return z * min(1.0, largest / max(np.abs(z).max(), 1e-300))


def _neighbours(landscape: Landscape, x, points, energy) -> tuple[list[np.ndarray], list[float]]:
    """Configurations with one level moved over a barrier, and the places of the barriers."""
    n = landscape.levels
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(np.abs(points[:, None] - x)), -700.0)
    moved, barriers = [], []
    total = logs.sum(axis=1)
    for k in range(n):
        low = x[k - 1] if k else -np.inf
        high = x[k + 1] if k + 1 < n else np.inf
        inside = (points > low) & (points < high)
        at = points[inside]
        if len(at) < 3:
            continue
        value = landscape.beta * (total[inside] - logs[inside, k]) - energy[inside, k]
        value = np.where(np.isfinite(value), value, -np.inf)
        padded = np.concatenate([[-np.inf], value, [-np.inf]])
        peaks = np.flatnonzero((padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:]))
        if len(peaks) < 2:
            continue
        own = peaks[np.argmin(np.abs(at[peaks] - x[k]))]
        for peak in peaks[peaks != own]:
            first, last = sorted((own, peak))
            lowest = first + np.argmin(value[first : last + 1])
            if min(value[own], value[peak]) - value[lowest] < SHALLOW:
                continue
            new = x.copy()
            new[k] = at[peak]
            moved.append(new)
            barriers.append(float(at[lowest]))
    return moved, barriers


def _distinct(known: list[Maximum], found: list[Maximum]) -> list[Maximum]:
    """`known` and those of `found` that are not among them."""
    result = list(known)
    for new in found:
        size = 1e-5 * (np.ptp(new.x) + 1e-3 * np.abs(new.x).max()) + 1e-12
        if not any(np.abs(old.x - new.x).max() < size for old in result):
            result.append(new)
    return result


def _thinned(barriers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """One barrier between neighbouring places where levels are found."""
    if not barriers.size:
        return barriers
    taken = np.sort(positions.ravel())
    barriers = np.sort(barriers)
    cell = np.searchsorted(taken, barriers)
    return np.array([barriers[cell == k][np.sum(cell == k) // 2] for k in np.unique(cell)])
