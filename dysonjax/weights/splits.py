"""Tensors that hold several matrices: queries, keys and values in one, or the heads of an attention layer."""

from dataclasses import dataclass

import numpy as np

from dysonjax.checks import InputError
from dysonjax.weights import layouts, names

_QKV = ("q", "k", "v")
HELP = (
    "a number of equal parts, sizes such as 4096,1024,1024, heads:12, heads:12x3 (q, k, v of a head "
    "together) or no"
)


@dataclass(frozen=True)
class Split:
    """How the output side of a tensor is cut."""

    sizes: tuple[int, ...] = ()
    """outputs of each part; empty for a cut by heads"""
    heads: int = 0
    """heads, each a member of an ensemble"""
    interleaved: int = 0
    """parts that every head holds; they become matrices of all heads"""
    labels: tuple[str, ...] = ()


def parse(text: str, outputs: int, name: str) -> Split | None:
    """A person's words for one tensor with that many outputs; None for `no`."""
    bad = InputError(f"split {text!r} of {name} must be {HELP}")
    if text == "no":
        return None
    if text.startswith("heads:"):
        heads, _, parts = text.removeprefix("heads:").partition("x")
        if not (heads.isdecimal() and (parts.isdecimal() or not parts) and int(heads) > 0):
            raise bad
        split = Split(heads=int(heads), interleaved=int(parts or 0))
        if outputs % (split.heads * max(split.interleaved, 1)):
            raise InputError(f"split {text!r} does not divide the {outputs} outputs of {name}")
        return _labelled(split, split.interleaved)
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise bad from None
    if any(number < 1 for number in numbers):
        raise bad
    if len(numbers) == 1:
        if outputs % numbers[0]:
            raise InputError(f"split {text!r} does not divide the {outputs} outputs of {name}")
        numbers = (outputs // numbers[0],) * numbers[0]
    if sum(numbers) != outputs:
        raise InputError(f"split {text!r} does not make up the {outputs} outputs of {name}")
    return _labelled(Split(sizes=numbers), len(numbers))


def _labelled(split: Split, count: int) -> Split:
    labels = _QKV if count == 3 else tuple(str(i + 1) for i in range(count))
    return Split(split.sizes, split.heads, split.interleaved, labels)


def fused(name: str, shape: tuple[int, ...], layout: str, config: dict) -> tuple[Split | None, str]:
    """The split of a fused kernel of queries, keys and values, and the reason, also for leaving it whole."""
    if not names.is_fused_qkv(name):
        return None, ""
    _, _, outputs = layouts.dimensions(shape, layout)
    heads = _integer(config, "num_attention_heads", "n_head", "n_heads", "num_heads")
    shared = _integer(config, "num_key_value_heads", "num_kv_heads", "n_head_kv") or heads
    if names.is_interleaved_qkv(name):
        if heads and shared == heads and outputs % (3 * heads) == 0 and not config.get("multi_query"):
            return _labelled(Split(heads=heads, interleaved=3), 3), "q, k and v of each head lie together"
        return (
            None,
            "q, k and v of each head lie together and are left fused; --split heads:Nx3 takes them apart",
        )
    if heads and shared and heads != shared and outputs % (heads + 2 * shared) == 0:
        size = outputs // (heads + 2 * shared)
        sizes = (heads * size, shared * size, shared * size)
        return _labelled(Split(sizes=sizes), 3), "fused q, k, v of grouped heads"
    inputs = layouts.dimensions(shape, layout)[1]
    if outputs == 3 * inputs or (
        outputs % 3 == 0 and (heads is None or heads == shared) and outputs > 2 * inputs
    ):
        return _labelled(Split(sizes=(outputs // 3,) * 3), 3), "fused q, k, v"
    return None, "q, k and v are fused in unequal parts; --split SIZES takes them apart"


def _integer(config: dict, *keys: str) -> int | None:
    found = [config[key] for key in keys if type(config.get(key)) is int and config[key] > 0]
    return found[0] if found else None


def cut(matrices: np.ndarray, split: Split) -> list[np.ndarray]:
    """Matrices, shape (members, inputs, outputs), of every part; by heads, the heads are members."""
    members, inputs, outputs = matrices.shape
    if split.interleaved:
        apart = matrices.reshape(members, inputs, split.heads, split.interleaved, -1)
        return [apart[..., part, :].reshape(members, inputs, -1) for part in range(split.interleaved)]
    if split.heads:
        apart = matrices.reshape(members, inputs, split.heads, outputs // split.heads)
        return [apart.transpose(0, 2, 1, 3).reshape(members * split.heads, inputs, -1)]
    return np.split(matrices, np.cumsum(split.sizes)[:-1], axis=2)
