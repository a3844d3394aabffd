"""One weight tensor in, one row of spectral statistics out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dysonjax import renamed
from dysonjax.checks import InputError, positive_int
from dysonjax.keys import Key, keyed
from dysonjax.spectra.degenerate import ZERO, degeneracy, without_empty_sides
from dysonjax.spectra.fit_marchenko_pastur import MarchenkoPasturFit, fit_marchenko_pastur
from dysonjax.spectra.matrix_nulls import MatrixNulls, default_draws, matrix_nulls
from dysonjax.spectra.power_law import PowerLawFit, fit_power_law
from dysonjax.spectra.ranks import Ranks, logdet_meaning, noise_logdet_levels, ranks
from dysonjax.spectra.repulsion import SpacingTest, spacing_test, unfolded_spacings
from dysonjax.spectra.singular_values import squared_singular_values
from dysonjax.spectra.spikes import Spikes, find_spikes
from dysonjax.spectra.tail_exponential import exponential_p
from dysonjax.spectra.verdict import verdict
from dysonjax.weights.dtypes import kind_of

FEWEST_NULL = 999  # simulated fits: with 199 the level of the verdict would be off by a half, either way
MAX_CANDIDATES = 100  # values of xmin tried; keeps a layer of thousands of levels within seconds


@dataclass(frozen=True)
class MatrixSpectrum:
    """Statistics of one weight matrix, or of an ensemble of them; None where a fit was not possible.

    Examples
    --------
    >>> w = np.random.default_rng(0).normal(size=(60, 30))
    >>> found = dj.spectra.analyse_matrix(w, quick=True)
    >>> found.verdict, found.row()["shape"]
    ('noise', '60x30')
    """

    name: str
    """what the caller calls it"""
    how: str
    """how the tensor became a matrix"""
    rows: int
    """M, the longer side"""
    modes: int
    """N, the shorter side = number of levels of a member"""
    members: int
    """matrices of the ensemble, 1 for a single one"""
    levels: np.ndarray = field(repr=False)
    """squared singular values, shape (members, modes), ascending"""
    marchenko_pastur: MarchenkoPasturFit | None
    """area and width of the bulk"""
    edge: float | None
    """what the largest level of noise stays below with 99 % at this M, N and number of members, if σ² is
    fitted to it"""
    outliers: int | None
    """levels beyond `edge`, over all members"""
    spacings: SpacingTest | None
    """level repulsion against Gaussian matrices"""
    unfolded: np.ndarray | None = field(repr=False)
    """spacings of mean one, shape (members, modes − 1)"""
    tail: PowerLawFit | None
    """power law through the largest levels"""
    exponential_p: float | None
    """one-sided p-value of the power law against an exponential tail from the same start: small if the
    exponential describes the tail better (Vuong's test)"""
    notes: tuple[str, ...]
    """why a fit is missing, and what speaks against one that is there"""

    spikes: Spikes | None
    """levels beyond the edge and their strengths"""
    ranks: Ranks
    """norms and ranks"""
    nulls: MatrixNulls | None
    """entries shuffled and with random signs; None for ensembles and where left out"""
    verdict: str | None
    """noise, noise with k spikes, noise with large entries, heavy tail or not described; None where no
    p-value carries a word"""
    why: str
    """the p-values behind it"""

    def row(self) -> dict[str, Any]:
        """The numbers as plain Python values, for a table, CSV or JSON.

        Returns
        -------
        dict
            Values by the name of their column; None where there is none.
        """
        mp, s, tail, spikes, nulls = self.marchenko_pastur, self.spacings, self.tail, self.spikes, self.nulls
        row = {
            "name": self.name,
            "shape": f"{self.rows}x{self.modes}",
            "members": self.members,
            "how": self.how,
            "verdict": self.verdict,
            "why": self.why,
        }
        # Errors end in `_error`, as in the summaries of all commands.
        for key in ("area", "area_err", "sigma2", "sigma2_err", "lower", "upper"):
            row[f"mp_{key}".replace("_err", "_error")] = mp and getattr(mp, key)
        row |= {"mp_p": mp and mp.p_value, "mp_area_p": mp and mp.area_p}
        row |= {"mp_scale_spread": mp and mp.scale_spread, "mp_note": mp and mp.note}
        row |= {"tracy_widom_edge": self.edge, "outliers": self.outliers}
        row["outlier_p"] = spikes and spikes.p_value
        for key in ("strength", "overlap_right", "overlap_left"):
            found = spikes is not None and getattr(spikes, key).size
            row[f"spike_{key}"] = getattr(spikes, key)[0] if found else None
        row |= {"ratio": s and s.spacing_ratio, "null_ratio": s and s.null_ratio}
        row |= {"null_ratio_error": s and s.null_ratio_err, "ratio_p": s and s.ratio_p}
        row |= {"spacing_distance": s and s.distance, "spacing_p": s and s.distance_p}
        row |= {"unfolding": s and s.unfolding}
        row |= {"tail_alpha": tail and tail.alpha, "tail_alpha_error": tail and tail.alpha_err}
        row |= {"tail_xmin": tail and tail.xmin, "tail_n_tail": tail and tail.n_tail}
        row |= {"tail_p": tail and tail.p_value, "tail_lognormal_p": tail and tail.lognormal_p}
        row |= {"tail_truncated_p": tail and tail.truncated_p, "tail_accepted": tail and tail.accepted()}
        row["tail_exponential_p"] = self.exponential_p
        row |= asdict(self.ranks)
        start, xmin = self.ranks.logdet_start, float(tail.xmin) if tail and tail.accepted() else None
        noise = None if start is None else self.members * noise_logdet_levels(self.modes, self.rows)
        row |= {"logdet_noise_levels": noise, "logdet_meaning": logdet_meaning(start, xmin, noise)}
        for key in ("draws", "shuffled_outliers", "shuffled_p", "signed_outliers", "signed_p"):
            row[f"null_{key}" if key == "draws" else key] = nulls and getattr(nulls, key)
        row["notes"] = "; ".join(self.notes)
        return {key: _plain(value) for key, value in row.items()}


@renamed.arguments(n_resamples="n")
@keyed
def analyse_matrix(
    weights: ArrayLike,
    name: str = "",
    how: str = "as stored",
    n_resamples: int = 200,
    key: Key = 0,
    nulls: int | None = 0,
    progress: Callable[[int, int], None] | None = None,
    quick: bool = False,
) -> MatrixSpectrum:
    """Spectral statistics of a weight matrix, or of an ensemble of them.

    Levels are the squared singular values, those of the smaller of WᵀW and WWᵀ, whichever side is the longer
    one.

    Parameters
    ----------
    weights : array_like, shape (rows, columns) or (members, rows, columns)
        The matrix, or an ensemble.
    name : str, default ""
        What it is called in the table.
    how : str, default "as stored"
        How a tensor became this matrix, for the table.
    n_resamples : int, default 200
        Replicates, simulated spectra and synthetic samples behind each error and p-value.
    key : int or jax.Array, default 0
        Of all of these.
    nulls : int or None, default 0
        Draws of the matrix with its entries shuffled and with random signs. None: as many as its size allows.
    progress : callable, optional
        Called as progress(done, total).
    quick : bool, default False
        Leave out what no verdict needs: spacings, and shuffled and signed matrices.

    Returns
    -------
    MatrixSpectrum
        All statistics. A fit for which the matrix is too small or degenerate is left out with a note.

    Raises
    ------
    InputError
        For NaN, infinity or fewer than 2 levels.

    Notes
    -----
    Errors and the p-value of the tail of an ensemble are over its members. The levels of a single matrix
    count as independent.

    Examples
    --------
    >>> w = np.random.default_rng(0).normal(size=(60, 30))
    >>> w[0, 0] += 30.0
    >>> found = dj.spectra.analyse_matrix(w, quick=True)
    >>> found.verdict, found.outliers
    ('noise with 1 spike', 1)
    """
    w = np.asarray(weights)
    if w.ndim not in (2, 3) or not _is_real(w):
        what = f"shape {w.shape}" if _is_real(w) else f"type {w.dtype}"
        raise InputError(f"weights must be a matrix of real numbers or a stack of them, got {what}")
    w = w[None] if w.ndim == 2 else w
    wide = w
    if w.dtype.kind != "f" or w.itemsize < 4:
        wide = w.astype(np.float32 if kind_of(w.dtype) == "float" else np.float64)
    if wide.dtype.kind == "f" and not np.isfinite(wide).all():
        bad = int(wide.size - np.isfinite(wide).sum())
        raise InputError(f"{bad} of {w.size} entries are NaN or infinite")
    if min(w.shape[-2:]) < 2:
        raise InputError(f"a {w.shape[-2]}x{w.shape[-1]} matrix has a single level; at least 2 are needed")
    wide, empty = without_empty_sides(wide)
    modes, rows = sorted(wide.shape[-2:])
    with np.errstate(over="ignore", invalid="ignore"):
        levels = squared_singular_values(wide)
    draws = 0
    if len(wide) == 1 and not quick:
        draws = default_draws(rows, modes) if nulls is None else positive_int("nulls", nulls, minimum=0)
    make_nulls = None
    if draws:

        def make_nulls(top: float) -> MatrixNulls:
            return matrix_nulls(wide[0], top, draws, int(key))

    notes = (empty,) if empty else ()
    largest = max(float(wide.max()), -float(wide.min()))
    return analyse_levels(
        levels, rows, name, how, n_resamples, int(key), make_nulls, notes, progress, quick, largest
    )


def analyse_levels(
    levels: ArrayLike,
    rows: int,
    name: str = "",
    how: str = "levels",
    n_resamples: int = 200,
    seed: int = 0,
    make_nulls: Callable[[float], MatrixNulls] | None = None,
    notes: tuple[str, ...] = (),
    progress: Callable[[int, int], None] | None = None,
    quick: bool = False,
    largest_entry: float = 0.0,
) -> MatrixSpectrum:
    """Spectral statistics of recorded levels of X = WᵀW, shape (members, modes), of matrices with `rows`
    rows.

    rows: M ≥ N, the longer side. make_nulls: the nulls of the matrix, from its largest level; called only
    where there is something to compare with. largest_entry: its absolute value, 0 if it is not known. Raises
    InputError as `analyse_matrix` does.
    """
    levels = np.array(levels, np.float64, ndmin=2)
    rows = positive_int("rows", rows)
    members, modes = levels.shape
    if not np.isfinite(levels).all():
        raise InputError("the squared singular values exceed the range of float64")
    if rows < modes:
        raise InputError(f"rows must be the longer side, at least the {modes} levels, got {rows}")
    levels = np.sort(np.where(levels <= ZERO * levels.max(axis=1, keepdims=True), 0.0, levels), axis=1)
    found, ratio = list(notes), modes / rows
    mp = spikes = spacings = unfolded = tail = exponential = nulls = None
    degenerate = degeneracy(levels, ratio)
    if degenerate:
        found.append(degenerate)
    else:
        null = max(n_resamples, FEWEST_NULL)
        test: dict[str, Any] = {"n_resamples": n_resamples, "key": seed, "progress": progress}
        mp = _noted(found, lambda: fit_marchenko_pastur(levels, ratio, key=seed, n_null=null))
        if mp is not None:
            spikes = find_spikes(levels, float(mp.sigma2), rows)
            if mp.note:
                found.append(f"Marchenko-Pastur: {mp.note}")
        if not quick:
            spacings = _noted(found, lambda: spacing_test(levels, ratio, **test))
        unfolded = unfolded_spacings(levels)[0] if spacings else None
        axis = -2 if members > 1 else None
        x = levels if members > 1 else levels.ravel()
        tail = _noted(
            found,
            lambda: fit_power_law(
                x, n_resamples=n_resamples, key=seed, max_candidates=MAX_CANDIDATES, member_axis=axis
            ),
        )
        if tail is not None:
            exponential = exponential_p(levels[levels >= tail.xmin], float(tail.xmin))
        nulls = make_nulls(float(levels.max())) if make_nulls is not None else None
        if nulls is not None and nulls.shuffled_outliers >= 0.5:
            found.append(
                f"shuffling its entries leaves {nulls.shuffled_outliers:.1f} levels beyond the edge: "
                "single large entries, not correlations"
            )
    word, why = verdict(mp, spikes, tail, nulls)
    if mp is not None and spikes is not None and spikes.count and (nulls is None or nulls.shuffled_p is None):
        alone = largest_entry / np.sqrt(float(mp.sigma2)) / ratio**0.25
        if alone > 1:
            found.append(
                f"the largest entry alone is a spike of {alone:.1f} θ_c: levels beyond the edge may come "
                "from single large entries, which 19 shuffled matrices would tell"
            )
    return MatrixSpectrum(
        name=name,
        how=how,
        rows=rows,
        modes=modes,
        members=members,
        levels=levels,
        marchenko_pastur=mp,
        edge=None if spikes is None else spikes.edge,
        outliers=None if spikes is None else spikes.count,
        spacings=spacings,
        unfolded=unfolded,
        tail=tail,
        exponential_p=exponential,
        notes=tuple(found),
        spikes=spikes,
        ranks=ranks(levels, not degenerate),
        nulls=nulls,
        verdict=word,
        why=why,
    )


def _is_real(w: np.ndarray) -> bool:
    return kind_of(w.dtype) in ("float", "integer")


def _noted(notes: list[str], fit: Callable[[], Any]) -> Any:
    try:
        return fit()
    except InputError as error:
        notes.append(str(error))
        return None


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int):
        return value
    number = np.asarray(value).item()
    return None if isinstance(number, float) and not np.isfinite(number) else number
