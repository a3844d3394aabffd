"""One look for every figure: sizes for half a page, the Okabe-Ito colours, labelled axes."""

import io
import math
import textwrap
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import FuncFormatter

from dysonjax import files

# Okabe & Ito (2008): distinguishable with every common form of colour blindness.
BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000",
)  # fmt: skip
CYCLE = [BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK]
COLUMN = 3.4  # width of one journal column, inches
PAGE = 7.0  # width of two columns, inches
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

RC: Any = {
    "axes.prop_cycle": cycler(color=CYCLE),
    "axes.grid": False,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "axes.titley": 1.0,  # where it is: no axis has ticks at its top, for which matplotlib looks in every draw
    "errorbar.capsize": 2,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "image.cmap": "cividis",
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


def colours(number: int) -> list:
    """Of so many curves in an order: the cycle as long as it lasts, else along a map from dark to light."""
    if number <= len(CYCLE):
        return CYCLE[:number]
    return list(mpl.colormaps["viridis"](np.linspace(0, 0.93, number)))


@contextmanager
def style():
    """Draw inside this context so that the caller's matplotlib settings stay as they are."""
    with mpl.rc_context(RC):
        yield


def new_figure(rows: int = 1, columns: int = 1, width: float = PAGE, height: float = 3.0, **kwargs):
    """A Figure outside pyplot (no global state, no window) and its axes."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, **kwargs)


def add_caption(figure: Figure, text: str, size: float = 6.5) -> None:
    """Put a caption of plain text under a figure, which grows by its height."""
    width, height = figure.get_size_inches()
    # The style's sans-serif is about 0.53 of its size wide on average.
    lines = textwrap.wrap(text, int(width * 72 / (0.53 * size)))
    figure.set_size_inches(width, height + len(lines) * 1.35 * size / 72)
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=size, linespacing=1.2)


def power_label(base: int):
    """A formatter of powers of a base, 2⁻³: plain text, since TeX formulas are parsed for 5 ms each."""

    def label(value: float, _position=None) -> str:
        exponent = round(math.log(value, base)) if value > 0 else None
        if exponent is None or not math.isclose(base**exponent, value, rel_tol=1e-6):
            return ""
        return f"{base}{str(exponent).translate(SUPERSCRIPTS)}"

    return FuncFormatter(label)


def write(figure: Figure, path: Path, dpi: int) -> None:
    """Write one file, of the kind that its name ends in."""
    files.put(path, drawn(figure, path.suffix, dpi))


def drawn(figure: Figure, suffix: str, dpi: int) -> bytes:
    """What a file of a kind, such as .png, would hold."""
    # In memory: matplotlib's own errors on a full disk name neither disk nor file.
    content = io.BytesIO()
    figure.savefig(content, format=suffix.removeprefix("."), dpi=dpi)
    return content.getvalue()


def drawn_files(figure: Figure, dpi: int = 160) -> dict[str, bytes]:
    """What the files of a figure hold, by how their names end: .png and .pdf.

    The layout is found once, for both files, and each is drawn once. An engine of the layout that is still
    there makes matplotlib draw every file twice, and so does cropping, for which the layout leaves nothing.
    While the style asks for such an engine, writing a file puts a new one into the figure.
    """
    with style():
        figure.dpi = dpi
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.execute(figure)
        with mpl.rc_context({"figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)
            return {suffix: drawn(figure, suffix, dpi) for suffix in (".png", ".pdf")}


def save(figure: Figure, folder: Path, name: str, dpi: int = 160) -> list[Path]:
    """Write `name.png` and `name.pdf` into the folder; return both paths."""
    contents = {folder / f"{name}{suffix}": content for suffix, content in drawn_files(figure, dpi).items()}
    for path, content in contents.items():
        files.put(path, content)
    return list(contents)
