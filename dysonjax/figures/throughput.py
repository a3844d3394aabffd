"""Network-steps/s against the number of networks, one line a variant."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from dysonjax.figures.style import new_figure, style

NAMES = {
    "engine": "dysonjax",
    "plain_vmap": "plain vmap",
    "limit": "C kernel",
    "numpy_loop": "NumPy loop",
    "torch_loop": "PyTorch loop",
}


def throughput(title: str, points: Sequence[Mapping], flat: Mapping[str, float]) -> Figure:
    """points: {"members": number, "net_steps_per_second": {variant: rate}}; flat: rates of the loops over
    networks, which do not depend on their number."""
    with style():
        figure, axes = new_figure(width=5.2, height=3.6)
        for name in points[0]["net_steps_per_second"]:
            rates = [(p["members"], p["net_steps_per_second"].get(name)) for p in points]
            rates = [(members, rate) for members, rate in rates if rate is not None]
            axes.plot(*zip(*rates, strict=True), "o-", label=NAMES.get(name, name))
        for name, rate in flat.items():
            axes.axhline(rate, linestyle=":", color="0.4")
            axes.annotate(NAMES.get(name, name), (points[0]["members"], rate), va="bottom", color="0.3")
        axes.set(xscale="log", yscale="log", xlabel="networks", ylabel="network-steps/s", title=title)
        axes.legend()
        return figure
