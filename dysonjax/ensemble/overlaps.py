"""Overlaps of singular vectors at a record: with the target's, with those at the start and the record before.

A record of levels cannot say whether a level that leaves the bulk points anywhere, or the same way as before.
Weights could, but take M·N numbers a record; the overlaps take one a level. They are made on the host from
the matrices that every target brings there at a record.

Conventions. W = Σ_k s_k u_k v_kᵀ with modes ascending, as the eigenvalues; a mode is compared with that of
the same place in the reference. `right` is |⟨v_k, v'_k⟩|² and `left` |⟨u_k, u'_k⟩|², in which signs drop out.
`signed` is ⟨u_k, u'_k⟩⟨v_k, v'_k⟩: a pair (u, v) is determined up to a common sign, in which the product does
not change; it is negative where a spike points the wrong way. Levels of the reference that are equal to 1e-6
of its largest level have no vectors of their own, but a subspace: a mode of theirs has the squared length of
its projection onto it (and, signed, Σ_j ⟨u_k, u'_j⟩⟨v_k, v'_j⟩ over the subspace). Modes that the target has
degenerate and above zero are compared as a subspace with the start and the record before, too. Levels below
1e-9 of the largest are zero: `left` and `right` then are the share outside of all other modes, `signed` is
NaN. At the first record there is none before it, and those overlaps are NaN.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dysonjax.checks import InputError, one_of
from dysonjax.ensemble.checkpoints import Fragment
from dysonjax.ensemble.spectrum import in_parts
from dysonjax.models.base import Model

REFERENCES = ("target", "start", "previous")
PARTS = ("right", "left", "signed")
LONG = {
    "target": "those that it is to learn",
    "start": "those before training",
    "previous": "those at the record before",
}
MEANING = {
    "right": "squared overlaps of the right singular vectors",
    "left": "squared overlaps of the left singular vectors",
    "signed": "products of the overlaps of both singular vectors",
}
EQUAL, ZERO = 1e-6, 1e-9  # of the largest level
_GRAM = 1e-8  # levels, relative to the largest, down to which left vectors come from WᵀW to 1e-8
_CHUNK = 128  # members whose vectors are compared at once


def parse(keep: str | Sequence[str]) -> tuple[str, ...]:
    """What `keep` asks for, word by word in a fixed order; raises InputError.

    keep: "none", "overlaps" (all three), "overlaps-target", "overlaps-start", "overlaps-previous", several of
    them with commas between, or a list.
    """
    allowed = ["none", "overlaps", *(f"overlaps-{name}" for name in REFERENCES)]
    if isinstance(keep, str):
        words = keep.split(",")
    else:
        words = list(keep) if isinstance(keep, Sequence) else [keep]
    words = [one_of("keep", word.strip() if isinstance(word, str) else word, allowed) for word in words]
    if "none" in words and len(set(words)) > 1:
        raise InputError(f"keep cannot be none and {', '.join(w for w in words if w != 'none')} at once")
    found = {word.removeprefix("overlaps-") for word in words} - {"none"}
    return tuple(f"overlaps-{name}" for name in REFERENCES if name in found or "overlaps" in found)


def check(model: Model, references: Sequence[str]) -> None:
    """Raise InputError if a model has nothing to compare with."""
    if "target" not in references:
        return
    if not jax.eval_shape(lambda key: model.targets(model.world(key, 1)), jax.random.key(0)):
        raise InputError(
            f"the model {model.name} names no target to overlap with; keep overlaps-start,overlaps-previous, "
            "or give the model `targets`"
        )


def parts(model: Model, reference: str) -> tuple[str, ...]:
    """Which overlaps with a reference mean something."""
    if reference != "target" or len(model.target_sides) == 2:
        return PARTS
    return tuple(model.target_sides)


class Vectors(NamedTuple):
    """Singular values and vectors of matrices (members, M, N), modes ascending."""

    levels: np.ndarray  # squared, (members, mode)
    right: np.ndarray  # (members, N, mode)
    left: np.ndarray  # (members, M, mode)

    def of(self, chosen: slice | np.ndarray) -> "Vectors":
        """Those of some members."""
        return Vectors(*(array[chosen] for array in self))


def vectors(matrices: np.ndarray) -> Vectors:
    """Those of matrices (members, M, N), computed in double precision and kept in that of the matrices."""
    return Vectors._make(map(np.concatenate, zip(*in_parts(_vectors, matrices, 16), strict=True)))


def _vectors(matrices: np.ndarray) -> Vectors:
    if matrices.shape[-2] < matrices.shape[-1]:
        turned = _vectors(matrices.swapaxes(-1, -2))
        return Vectors(turned.levels, turned.left, turned.right)
    w = matrices.astype(np.float64)
    finite = np.asarray(np.isfinite(w).all(axis=(-2, -1)))
    w = np.where(finite[:, None, None], w, 0.0)
    levels, right = np.linalg.eigh(w.swapaxes(-1, -2) @ w)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = (w @ right) / np.sqrt(levels)[:, None]
    # The Gram matrix squares the ratio of levels: where some are small it does not hold their vectors.
    for k in np.flatnonzero(levels[:, 0] <= _GRAM * levels[:, -1]):
        u, s, vt = np.linalg.svd(w[k], full_matrices=False)
        levels[k], right[k], left[k] = s[::-1] ** 2, vt[::-1].T, u[:, ::-1]
    levels[~finite], right[~finite], left[~finite] = np.nan, np.nan, np.nan
    return Vectors(levels, right.astype(matrices.dtype), left.astype(matrices.dtype))


def _plain(matrices: Any) -> np.ndarray:
    """Matrices of a type that NumPy and a file know."""
    matrices = np.asarray(matrices)
    return matrices if matrices.dtype in (np.float32, np.float64) else matrices.astype(np.float32)


def joined(levels: np.ndarray) -> np.ndarray:
    """Whether a level and the next are equal, (members, modes − 1)."""
    return np.diff(levels, axis=-1) <= EQUAL * levels[:, -1:]


def overlaps(now: Vectors, then: Vectors, together: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Every part, (members, mode), of the modes of `now` with those of the reference `then`.

    together: further neighbours that are to be one subspace, (members, modes − 1).
    """
    same = joined(then.levels) if together is None else joined(then.levels) | together
    number = np.concatenate([np.zeros((len(same), 1), int), np.cumsum(~same, axis=-1)], axis=-1)
    zero = then.levels <= ZERO * then.levels[:, -1:]
    mine = (number[:, :, None] == number[:, None, :]) & ~zero[:, None, :]
    amplitudes = {
        side: getattr(now, side).swapaxes(-1, -2) @ getattr(then, side) for side in ("right", "left")
    }
    found = {}
    for side, amplitude in amplitudes.items():
        square = amplitude**2
        beside = 1 - np.where(zero[:, None, :], 0, square).sum(axis=-1)
        found[side] = np.where(zero, beside, np.where(mine, square, 0).sum(axis=-1))
    product = np.where(mine, amplitudes["right"] * amplitudes["left"], 0).sum(axis=-1)
    found["signed"] = np.where(zero, np.nan, product)
    lost = ~np.isfinite(now.levels + then.levels)
    return {part: np.where(lost, np.nan, np.clip(values, -1, 1)) for part, values in found.items()}


class Overlaps:
    """What the overlaps of a wave need from record to record.

    references: what to compare with. index: places of the wave's members, (devices, worlds, points), -1
    where nobody stands.
    """

    def __init__(self, model: Model, references: Sequence[str], index: np.ndarray):
        self.model, self.references, self.index = model, references, index
        worlds = np.arange(index.shape[0] * index.shape[1]).reshape(*index.shape[:2], 1)
        self.world = np.broadcast_to(worlds, index.shape)[index >= 0]  # of each member, among the targets
        self.target: dict[str, Vectors] = {}
        self.start: dict[str, Vectors] = {}
        self.previous: dict[str, np.ndarray] = {}  # matrices, which a checkpoint holds
        self.before: dict[str, Vectors] = {}  # theirs

    def begin(self, params: Any) -> None:
        """Take the matrices before training from parameters in the plain form."""
        shapes = jax.eval_shape(jax.vmap(jax.vmap(jax.vmap(self.model.matrices))), params)
        chosen = jax.tree.map(lambda leaf: leaf[self.index >= 0], params)
        matrices = jax.jit(jax.vmap(self.model.matrices))(chosen)
        self.start = {name: vectors(_plain(matrices[name])) for name in shapes}

    def leaves(self) -> list[np.ndarray]:
        """What a checkpoint has to hold besides the state: nothing before the first record."""
        return [self.previous[name] for name in sorted(self.previous)]

    def restored(self, fragment: Fragment, state: Any) -> Fragment:
        """Go on from a checkpoint; what is left of it is the state alone."""
        own = len(jax.tree.leaves(state))
        rest = fragment.leaves[own:]
        if rest and "previous" in self.references:
            place = {int(member): k for k, member in enumerate(fragment.members)}
            order = [place[int(member)] for member in self.index[self.index >= 0]]
            params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[3:], leaf.dtype), state.params)
            names = sorted(jax.eval_shape(self.model.matrices, params))
            self.previous = {name: leaf[order] for name, leaf in zip(names, rest, strict=True)}
            self.before = {name: vectors(w) for name, w in self.previous.items()}
        return fragment._replace(leaves=fragment.leaves[:own])

    def of(
        self, name: str, matrices: np.ndarray, targets: dict[str, np.ndarray]
    ) -> Iterator[tuple[str, Any]]:
        """Names of variables (without the matrix's) and their values, (members, mode), of one record.

        targets: (devices, worlds, M, N).
        """
        if not self.references:
            return
        if name in targets and name not in self.target:
            self.target[name] = vectors(_plain(targets[name].reshape(-1, *targets[name].shape[2:])))
        matrices = _plain(matrices)
        now = vectors(matrices)
        known = {"start": self.start.get(name), "previous": self.before.get(name)}
        for reference in self.references:
            if reference == "target" and name not in self.target:
                continue
            found: dict[str, list] = {part: [] for part in parts(self.model, reference)}
            for first in range(0, len(matrices), _CHUNK):
                chunk = slice(first, first + _CHUNK)
                aim = self.target[name].of(self.world[chunk]) if name in self.target else None
                then = aim if reference == "target" else known[reference]
                if then is None:
                    values = dict.fromkeys(PARTS, np.full(now.levels[chunk].shape, np.nan))
                elif reference == "target":
                    values = overlaps(now.of(chunk), then)
                else:
                    values = overlaps(now.of(chunk), then.of(chunk), _together(aim))
                for part in found:
                    found[part].append(values[part])
            for part, pieces in found.items():
                yield f"overlap_{reference}_{part}", np.concatenate(pieces)
        if "previous" in self.references:
            self.previous[name], self.before[name] = matrices, now


def _together(target: Vectors | None) -> np.ndarray | None:
    """Modes that a target has degenerate and above zero."""
    if target is None:
        return None
    return joined(target.levels) & (target.levels[:, :-1] > ZERO * target.levels[:, -1:])
