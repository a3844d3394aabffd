"""A layout: one letter an axis, and a tensor becomes matrices by it.

`i` input side, `o` output side, `k` position in a convolution's kernel (input side), `e` one matrix a slice.
PyTorch's convolution is `oikk`, that of Keras and flax `kkio`, an attention kernel of flax `ioo` as one
matrix or `ieo` as one a head, a stack of layers `eio`. Singular values do not depend on the order within a
side.
"""

import numpy as np

from dysonjax.checks import InputError

LETTERS = "ikoe"


def checked(layout: str, shape: tuple[int, ...], name: str = "") -> str:
    """`layout` if it fits the shape. Raises InputError if it does not."""
    of = f" of {name}" if name else ""
    if len(layout) != len(shape) or set(layout) - set(LETTERS):
        raise InputError(
            f"layout {layout!r} does not fit the {len(shape)} axes{of}, shape {shape}; give one letter an "
            "axis: i input, o output, k kernel position, e one matrix a slice"
        )
    if "o" not in layout or not set(layout) & set("ik"):
        raise InputError(f"layout {layout!r}{of} has only one side; a matrix needs i (or k) and o")
    return layout


def dimensions(shape: tuple[int, ...], layout: str) -> tuple[int, int, int]:
    """(matrices, inputs, outputs)."""
    sides = {side: 1 for side in "eio"}
    for n, letter in zip(shape, layout, strict=True):
        sides["i" if letter == "k" else letter] *= n
    return sides["e"], sides["i"], sides["o"]


def as_matrices(array: np.ndarray, layout: str) -> np.ndarray:
    """The tensor as matrices, shape (matrices, inputs, outputs)."""
    order = [axis for side in ("e", "ik", "o") for axis, letter in enumerate(layout) if letter in side]
    return array.transpose(order).reshape(dimensions(array.shape, layout))


def out_first(layout: str) -> bool:
    """Whether the outputs come before the inputs, as PyTorch has them."""
    return layout.index("o") < min(layout.index(letter) for letter in "ik" if letter in layout)


def described(shape: tuple[int, ...], layout: str) -> str:
    """Such as `out × (32·3·3)`, the sides in their order in the file, `8 slices of` before it for a stack."""

    def side(letters: str) -> str:
        sizes = [str(n) for n, letter in zip(shape, layout, strict=True) if letter in letters and n > 1]
        return ("out" if letters == "o" else "in") if len(sizes) < 2 else f"({'·'.join(sizes)})"

    if layout in ("io", "oi"):
        return "as stored"
    text = f"{side('o')} × {side('ik')}" if out_first(layout) else f"{side('ik')} × {side('o')}"
    count = dimensions(shape, layout)[0]
    return f"{count} slices of {text}" if count > 1 else text
