"""8-bit floats that are kept beside their scale: the weight is their product."""

import numpy as np

from dysonjax.checks import InputError
from dysonjax.weights.tensor import Tensor

_SUFFIXES = ("_scale_inv", "_scale")


def partners(tensors: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Names of float8 weights -> the tensor of their scales."""
    by_name = {tensor.name: tensor for tensor in tensors}
    found = {}
    for tensor in tensors:
        if tensor.dtype.lower().startswith(("f8", "float8")) and len(tensor.shape) >= 2:
            for suffix in _SUFFIXES:
                partner = by_name.get(f"{tensor.name}{suffix}")
                if partner is not None and partner.kind == "float" and not partner.problem:
                    if _fits(tensor.shape, partner.shape):
                        found[tensor.name] = partner
                    break
    return found


def _fits(shape: tuple[int, ...], scale: tuple[int, ...]) -> bool:
    """A single number, one a row, or one a block of the last two axes."""
    if int(np.prod(scale)) == 1:
        return True
    return len(scale) <= len(shape) and all(
        0 < s <= n for s, n in zip(scale[::-1], shape[::-1], strict=False)
    )


def applied(weights: np.ndarray, scale: Tensor) -> np.ndarray:
    """Weights times scales; a scale that is shorter than the axis stands for a block."""
    weights = weights.astype(np.float32)
    factor = scale.read().astype(np.float32)
    if factor.size == 1:
        return weights * factor.reshape(())
    if factor.ndim == 1 and factor.size == weights.shape[0]:
        factor = factor.reshape(-1, *(1,) * (weights.ndim - 1))
    factor = factor.reshape((1,) * (weights.ndim - factor.ndim) + factor.shape)
    for axis, (n, s) in enumerate(zip(weights.shape, factor.shape, strict=True)):
        if s not in (1, n):
            block = _block(n, s, scale.name)
            factor = np.repeat(factor, block, axis=axis)
            factor = factor.take(np.arange(n), axis=axis)
    return weights * factor


def _block(n: int, blocks: int, name: str) -> int:
    """Entries of a block: in published files a power of two such as 128, of which the last may have fewer."""
    least = -(-n // blocks)
    for block in (1 << (least - 1).bit_length(), least):
        if -(-n // block) == blocks:
            return block
    raise InputError(f"its scales {name} do not fit blocks of its {n} rows")
