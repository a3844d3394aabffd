"""Scalars of an ensemble and their distance in standard errors; members are the unit of resampling."""

import numpy as np


def scalars(x: np.ndarray) -> dict[str, tuple[float, float]]:
    """Mean and standard error of what the acceptance is about, from levels of shape (members, levels)."""
    spacing, centered = np.diff(x, axis=1), (x - x.mean(0)) ** 2
    per_member = {
        "sum of squares": (x**2).sum(1),
        "level variance": centered.mean(1),
        "mean spacing": spacing.mean(1),
        "spacing variance": ((spacing - spacing.mean(0)) ** 2).mean(1),
        "sum": x.sum(1),
    }
    return {name: (v.mean(), v.std(ddof=1) / np.sqrt(len(v))) for name, v in per_member.items()}


def distances(x: np.ndarray, y: np.ndarray) -> dict[str, tuple[float, float]]:
    """(z-score, relative standard error) of every scalar, and the largest z of level means and spacings."""
    table = {}
    for name, (mean, error) in scalars(x).items():
        other, other_error = scalars(y)[name]
        both = np.hypot(error, other_error)
        scale = np.sqrt((y**2).mean()) * y.shape[1] if name == "sum" else abs(other)
        table[name] = ((mean - other) / both, both / scale)
    for name, values in (("levels", lambda a: a), ("spacings", lambda a: np.diff(a, axis=1))):
        a, b = values(x), values(y)
        error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))
        table[name] = (np.abs((a.mean(0) - b.mean(0)) / error).max(), (error / np.sqrt((b**2).mean(0))).max())
    return table


def agree(x: np.ndarray, y: np.ndarray, sigmas: float = 3.0) -> bool:
    """Every scalar within `sigmas`, every single level and spacing within 4 (there are many of them)."""
    table = distances(x, y)
    return all(abs(z) < (4.0 if name in ("levels", "spacings") else sigmas) for name, (z, _) in table.items())
