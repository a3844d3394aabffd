"""One of five words for a spectrum, each carried by a p-value; no word where there is none."""

from dysonjax.spectra.fit_marchenko_pastur import MarchenkoPasturFit
from dysonjax.spectra.matrix_nulls import MatrixNulls
from dysonjax.spectra.power_law import PowerLawFit
from dysonjax.spectra.spikes import Spikes

LEVEL = 0.01  # of the test of the bulk's shape; with the edge's 1 % noise is called something else in 2 %
SURVIVES = 0.05  # p-value above which a level as high is there after shuffling; the least that 19 draws give


def verdict(
    mp: MarchenkoPasturFit | None,
    spikes: Spikes | None,
    tail: PowerLawFit | None,
    nulls: MatrixNulls | None = None,
) -> tuple[str | None, str]:
    """(word, why): `noise`, `noise with k spikes`, `noise with large entries`, `heavy tail` or `not
    described`; (None, "") without a test.

    Noise: the bulk has the shape of a Gaussian matrix's (simulated p > 0.01) and no level lies beyond the
    edge that one in a hundred noise matrices passes. Large entries: the same bulk, and levels beyond the edge
    that the same entries have in another order too (p > 0.05 where there are enough draws), so that they are
    no direction. Heavy tail: another bulk, and a power law passes its goodness of fit and both likelihood
    ratios. Not described: the bulk is not that of noise, and neither is a power law.
    """
    if mp is None or spikes is None or mp.p_value != mp.p_value:
        return None, ""
    bulk = f"bulk p = {float(mp.p_value):.2g}"
    if mp.p_value > LEVEL:
        why = f"{bulk}, largest level p = {spikes.p_value:.2g}"
        if not spikes.count:
            return "noise", why
        if nulls is not None and nulls.shuffled_p is not None:
            why += f", of shuffled entries p = {nulls.shuffled_p:.2g}"
            if nulls.shuffled_p > SURVIVES:
                return "noise with large entries", why
        plural = "spike" if spikes.count == 1 else "spikes"
        return f"noise with {spikes.count} {plural}", why
    if tail is not None and tail.accepted():
        return "heavy tail", f"{bulk}, tail p = {float(tail.p_value):.2g}"
    tested = "" if tail is None else f", tail p = {float(tail.p_value):.2g}"
    return "not described", f"{bulk}{tested}"
