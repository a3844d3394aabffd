"""What to know before A and σ² of a Marchenko-Pastur fit are read as noise and tail, in sentences."""

import numpy as np

DOUBT = 0.01  # p-value from which on the law is said not to fit
FEW = 0.5  # share of distinct levels below which a continuous law is out of the question
SPREAD = 0.02  # relative spread of scales that is worth a sentence


def advice(x, ratio, area, p_value, area_p, spread, spread_p, common_scale) -> str:
    """Sentences for a fit to levels x of law r = ratio; empty if nothing speaks against it."""
    found = []
    distinct, zeros = np.unique(x).size, np.count_nonzero(x == 0)
    if distinct < FEW * x.size:
        found.append(f"only {distinct} of {x.size} levels are distinct: no law of random matrices fits them")
    elif zeros:
        found.append(f"{zeros} of {x.size} levels are zero, as in no random matrix of r = {ratio:g}")
    elif p_value <= DOUBT:
        found.append(
            f"the levels do not have the shape of noise of r = {ratio:g} (p = {p_value:.2g}): "
            "A and σ² describe them but do not separate noise from a tail"
        )
    if area > 1 and area_p <= DOUBT:
        found.append(f"A = {area:.3f} exceeds 1 by more than chance, which no tail explains: check the ratio")
    if not common_scale and spread > SPREAD and spread_p <= DOUBT:
        found.append(
            f"the matrices differ in scale, by {100 * spread:.0f} % beyond chance, which looks like a tail: "
            "fit them with a common scale"
        )
    return "; ".join(found)
