"""Low-rank adapters: the factors of a layer are multiplied out to the change of weights that they mean."""

import re
from dataclasses import dataclass

import numpy as np

from dysonjax.weights import names
from dysonjax.weights.tensor import Tensor

_FACTOR = re.compile(r"lora_(?:embedding_)?(a|b|down|up)(?=$|[._/\[\]'])", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """ΔW = scale · up · down, of rank r."""

    name: str
    down: Tensor
    """to the small space, the factor called A or down"""
    up: Tensor
    down_is_right: bool
    """whether `up @ down` is the product (PyTorch's order), or `down @ up` (that of flax)"""
    scale: float
    why_scale: str

    @property
    def rank(self) -> int:
        return min(*_sides(self.down), *_sides(self.up))

    @property
    def shape(self) -> tuple[int, int]:
        a, b = _sides(self.down), _sides(self.up)
        return (b[0], a[1]) if self.down_is_right else (a[0], b[1])

    def read(self) -> np.ndarray:
        """The product, shape (1, *shape)."""
        a = self.down.read().astype(np.float64).reshape(_sides(self.down))
        b = self.up.read().astype(np.float64).reshape(_sides(self.up))
        return (self.scale * (b @ a if self.down_is_right else a @ b))[None]


def _sides(tensor: Tensor) -> tuple[int, int]:
    """The factor of a convolution has its outputs first."""
    first, *rest = tensor.shape
    return first, int(np.prod(rest))


def pairs(tensors, framework: str | None, config: dict) -> list[Pair]:
    """Every pair of factors that fit each other."""
    factors: dict[str, dict[str, Tensor]] = {}
    scales = {}
    for tensor in tensors:
        match = _FACTOR.search(tensor.name)
        if match and tensor.kind == "float" and not tensor.problem and len(tensor.shape) >= 2:
            side = "down" if match[1].lower() in ("a", "down") else "up"
            key = tensor.name[: match.start()] + "lora" + tensor.name[match.end() :]
            factors.setdefault(key, {})[side] = tensor
        elif names.leaf(tensor.name) == "alpha" and tensor.size == 1:
            scales[names.module(tensor.name)] = tensor
    found = []
    for key, sides in factors.items():
        if len(sides) == 2:
            pair = _pair(key, sides["down"], sides["up"], framework, config, scales)
            if pair:
                found.append(pair)
    return found


def _pair(key, down: Tensor, up: Tensor, framework, config: dict, scales: dict) -> Pair | None:
    a, b = _sides(down), _sides(up)
    torch_order, flax_order = b[1] == a[0], a[1] == b[0]
    if not (torch_order or flax_order):
        return None
    right = torch_order and not (flax_order and framework in ("flax", "keras"))
    rank = a[0] if right else a[1]
    alpha = scales.get("/".join(names.parts(key[: key.index("lora")])))
    if alpha is not None:
        scale, why = float(np.ravel(alpha.read().astype(np.float64))[0]) / rank, "its alpha"
    elif isinstance(config.get("lora_alpha"), int | float):
        root = bool(config.get("use_rslora"))
        scale, why = float(config["lora_alpha"]) / (rank**0.5 if root else rank), "adapter_config.json"
    else:
        scale, why = 1.0, "no alpha found"
    return Pair(key, down, up, right, scale, why)


def shaped(pair: Pair) -> str:
    rows, columns = pair.shape
    return f"product of rank {pair.rank}, {rows}×{columns}, times {pair.scale:.3g} ({pair.why_scale})"
