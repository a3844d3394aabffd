"""Whether the speed got worse: measured ratios beside committed ones. Never times: machines differ."""

from collections.abc import Mapping

TOLERANCE = 0.20


def regressions(
    measured: Mapping[str, Mapping[str, float]],
    committed: Mapping[str, Mapping[str, float]],
    tolerance: float = TOLERANCE,
) -> list[str]:
    """One sentence for each ratio that fell by more than `tolerance`, or that was not measured any more.

    Both: benchmark -> variant -> engine's rate over the variant's. A better ratio is no regression.
    """
    found = []
    for benchmark, ratios in committed.items():
        for variant, before in ratios.items():
            now = measured.get(benchmark, {}).get(variant)
            if now is None:
                found.append(f"{benchmark}: no ratio to {variant} was measured; committed is {before:.3g}")
            elif not now >= (1 - tolerance) * before:
                loss = f"fell by {100 * (1 - now / before):.0f} %, from {before:.3g} to {now:.3g}"
                found.append(f"{benchmark}: the ratio to {variant} {loss}")
    return found
