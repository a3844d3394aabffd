"""Network-steps/s against the number of networks, one line a variant."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from dysonjax.figures.style import BLUE, GREEN, RED, new_figure, style

# What depends on the number of networks: name in the figure, marker, colour, where the name stands.
LINES = {"engine": ("dysonjax", "o", BLUE, 7), "plain_vmap": ("plain vmap", "s", RED, -14)}
FLAT = {"limit": "C kernel", "numpy_loop": "NumPy loop", "torch_loop": "PyTorch loop"}


def throughput(title: str, points: Sequence[Mapping], flat: Mapping[str, float]) -> Figure:
    """points: {"members": number, "net_steps_per_second": {variant: rate}}; flat: rates of the loops over
    networks and of the C kernel, which do not depend on their number."""
    with style():
        figure, axes = new_figure(width=5.2, height=3.6)
        for name, (label, marker, colour, above) in LINES.items():
            rates = [(p["members"], p["net_steps_per_second"].get(name)) for p in points]
            rates = [(members, rate) for members, rate in rates if rate is not None]
            if rates:
                axes.plot(*zip(*rates, strict=True), marker=marker, color=colour)
                axes.annotate(
                    label, rates[-1], (3, above), textcoords="offset points", ha="right", color=colour
                )
        right = axes.get_yaxis_transform()
        for name, rate in flat.items():
            colour, dashes = (GREEN, "--") if name == "limit" else ("0.4", ":")
            axes.axhline(rate, linestyle=dashes, color=colour)
            axes.annotate(
                FLAT.get(name, name), (0.99, rate), (0, 2), xycoords=right, textcoords="offset points",
                ha="right", color=colour, fontsize=8,
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="networks at once", ylabel="network-steps/s", title=title)
        # Room for the names of the lowest and the uppermost line.
        low, high = axes.get_ylim()
        axes.set_ylim(low / 1.5, high * 1.5)
        return figure
