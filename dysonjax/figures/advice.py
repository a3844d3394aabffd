"""The predicted converged window over 1/σ_W and α/|B|, with the evidence behind it."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from dysonjax.figures.style import BLACK, ORANGE, PAGE, RED, new_figure, style


def converged_window(
    lr: np.ndarray,
    sigma_w: np.ndarray,
    share: np.ndarray,
    loss: np.ndarray,
    evidence: xr.Dataset,
    pilot_lr: np.ndarray,
    best: dict[str, float],
    batch_size: int,
    caption: str = "",
) -> Figure:
    """Left: share of seeds predicted to converge. Right: predicted median loss.

    share, loss: shape (lr, sigma_w). evidence: `lr_stable` and `lr_mean_square` over (sigma_w, seed), drawn
    as medians. pilot_lr: rates of the pilot runs, which with the evidence's widths are drawn as dots.
    """
    temperature, inverse = lr / batch_size, 1 / sigma_w
    with style():
        figure, (left, right) = new_figure(1, 2, width=PAGE, height=3.3, sharex=True, sharey=True)
        mesh = left.pcolormesh(inverse, temperature, share, vmin=0, vmax=1, cmap="cividis", shading="nearest")
        figure.colorbar(mesh, ax=left)
        left.set_title("share of seeds predicted to converge")
        finite = np.where(np.isfinite(loss), np.log10(np.maximum(loss, 1e-30)), np.nan)
        mesh = right.pcolormesh(inverse, temperature, finite, cmap="viridis", shading="nearest")
        figure.colorbar(mesh, ax=right)
        right.set_title(r"predicted $\log_{10}$ median loss")
        limits = inverse.min(), inverse.max(), temperature.min(), temperature.max()
        for axis in (left, right):
            if share.min() < 0.5 < share.max():
                axis.contour(inverse, temperature, share, [0.5], colors=BLACK, linewidths=1.2)
            widths = 1 / evidence["sigma_w"].values
            for name, dashes, label in (
                ("lr_stable", ":", r"stable in the mean, $2/\langle h\rangle$"),
                ("lr_mean_square", "-", r"in the mean square, $2\langle h\rangle/\langle h^2\rangle$"),
            ):
                with np.errstate(invalid="ignore"):
                    edge = evidence[name].median("seed").values / batch_size
                axis.plot(widths, edge, color=RED, ls=dashes, label=label)
            grid_x, grid_y = np.meshgrid(widths, pilot_lr / batch_size)
            axis.plot(
                grid_x.ravel(), grid_y.ravel(), ".", color=ORANGE, ms=3, label="pilot runs", clip_on=False
            )
            axis.plot(1 / best["sigma_w"], best["temperature"], "*", color=BLACK, ms=9, label="lowest loss")
            axis.set_xscale("log", base=2)
            axis.set_yscale("log", base=2)
            axis.set(xlim=limits[:2], ylim=limits[2:])
            axis.set_xlabel(r"inverse disorder  $1/\sigma_W$")
        left.set_ylabel(r"temperature  $T=\alpha/|B|$")
        axis.plot([], [], color=BLACK, lw=1.2, label="half of the seeds converge")
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        if caption:
            figure.suptitle(caption, fontsize=8)
    return figure
