"""Which layout a tensor has, from its name, its framework, its shape and the shape of its bias.

Where they disagree: the bias of the layer leads, since its size must be that of the output; then what the
name and the framework say together; then the sizes, as kernels of convolutions are small; then the name.
"""

from dysonjax.weights import names

CHANNELS_FIRST = {"torch", "onnx"}
# Largest side of a convolution's kernel that counts as small, by the number of axes.
_SMALL = {3: 32, 4: 16, 5: 8}


def choose(
    name: str,
    shape: tuple[int, ...],
    framework: str | None = None,
    bias: tuple[int, ...] | None = None,
    stacked: bool = False,
) -> tuple[str, str]:
    """(layout, the reason in a few words). `shape` has at least two axes longer than one.

    bias: shape of the bias of the same layer, if there is one. stacked: whether the whole group of layers
    has a first axis in common.
    """
    if stacked and len(shape) > 2:
        rest, reason = choose(name, shape[1:], framework, None if bias is None else bias[1:])
        return "e" + rest, f"a stack of layers, {reason}" if reason else "a stack of layers"
    long = [axis for axis, n in enumerate(shape) if n > 1]
    if len(long) == 2:
        return _two_axes(name, shape, long, framework), "" if len(shape) == 2 else "axes of size one dropped"
    role = names.role(name)
    rank = len(shape)
    if role == "experts" and rank == 3:
        return "eoi" if framework == "torch" and names.leaf(
            name
        ) == "weight" else "eio", "one matrix an expert"
    if names.is_depthwise(name) and framework not in CHANNELS_FIRST and not names.says_torch(name):
        return "k" * (rank - 2) + "oo", "depthwise"
    found = _attention(name, shape, framework, bias) or _by_bias(name, shape, bias)
    if found:
        return found
    convolution = role == "convolution" or rank > 3 or (rank == 3 and _looks_like_convolution(name, shape))
    if convolution and rank <= 5:
        return _convolution(name, shape, framework, bias)
    if names.is_stack(name) and rank == 3 and framework != "keras":
        return "eio", "a stack of layers by its name"
    return "e" * (rank - 2) + "io", "no name explains its axes; --layout can"


def _two_axes(name: str, shape: tuple[int, ...], long: list[int], framework: str | None) -> str:
    """Which side is called the output matters to splits alone."""
    says = names.says_torch(name)
    first = framework in CHANNELS_FIRST | {"mlx"} if framework else bool(says)
    out = long[0] if first else long[1]
    if names.is_fused_qkv(
        name
    ):  # the fused side is the long one, also in GPT-2, which has it last in PyTorch
        out = max(long, key=lambda axis: (shape[axis], axis == out))
    return "".join("o" if axis == out else "i" for axis in range(len(shape)))


def _attention(name, shape, framework, bias) -> tuple[str, str] | None:
    side = names.attention_side(name)
    if side is None or framework in CHANNELS_FIRST or names.says_torch(name):
        return None
    rank = len(shape)
    if side == "in" and (bias is None or bias == shape[1:]):
        return "i" + "o" * (rank - 1), "attention, in × (heads·size)"
    if side == "out" and (bias is None or bias == shape[-1:]):
        return "i" * (rank - 1) + "o", "attention, (heads·size) × out"
    return None


def _by_bias(name: str, shape: tuple[int, ...], bias: tuple[int, ...] | None) -> tuple[str, str] | None:
    """The bias of a layer has the shape of its output."""
    if bias is None or not bias:
        return None
    rank, why = len(shape), "by the size of its bias"
    if len(bias) == 1:
        places = [axis for axis in range(rank) if shape[axis] == bias[0]]
        if len(places) != 1:
            return None
        (out,) = places
        middle = {0: "oi" + "k" * (rank - 2), rank - 1: "k" * (rank - 2) + "io"}.get(out)
        if middle is None:  # transposed convolutions have their outputs inside
            middle = "io" + "k" * (rank - 2) if out == 1 else "k" * (rank - 2) + "oi"
        return middle, why
    if bias == (shape[0], shape[-1]) and bias != shape[1:]:
        return "e" + "i" * (rank - 2) + "o", f"a stack, {why}"
    if rank == 3 and bias == shape[:2] and bias != shape[1:]:
        return "eoi", f"a stack, {why}"
    if bias == shape[-len(bias) :] and len(bias) < rank:
        return "i" * (rank - len(bias)) + "o" * len(bias), why
    return None


def _looks_like_convolution(name: str, shape: tuple[int, ...]) -> bool:
    """A layer's weight of three axes with a short last (PyTorch) or first one (the others)."""
    says = names.says_torch(name)
    if says is None:
        return False
    short, others = (shape[2], shape[:2]) if says else (shape[0], shape[1:])
    return short <= _SMALL[3] and short <= min(others) and not names.is_stack(name)


def _convolution(name, shape, framework, bias) -> tuple[str, str]:
    rank = len(shape)
    k = "k" * (rank - 2)
    first, last, mlx = f"oi{k}", f"{k}io", f"o{k}i"
    if names.is_transposed(name):
        first, last = f"io{k}", f"{k}oi"
    # A bias whose size is that of two axes decides less, but still rules out the others.
    fits = bias is None or len(bias) != 1 or bias[0] not in shape
    possible = [c for c in (first, last, mlx) if fits or shape[c.index("o")] == bias[0]] or [first, last, mlx]
    says = names.says_torch(name)
    by_name = None if says is None else (first if says else last)
    by_framework = {"mlx": mlx, None: None}.get(framework, first if framework in CHANNELS_FIRST else last)
    if by_framework in possible and by_name in (None, by_framework):
        return by_framework, f"convolution in the order of {framework}"
    if framework == "mlx":
        return mlx, "convolution in the order of mlx"
    # Kernels in two and three dimensions are small; those in one can be longer than the layers are wide.
    if rank > 3:
        small = _SMALL[rank]
        short = {last: max(shape[:-2]), first: max(shape[2:]), mlx: max(shape[1:-1])}
        seen = [layout for layout in possible if short[layout] <= small]
        # An order that only moves the inputs gives the same matrix.
        if len({layout.index("o") for layout in seen}) == 1:
            return seen[0], "convolution, by its sizes"
    if by_name in possible:
        return by_name, "convolution, by its name"
    if len(set(shape[:-2])) == 1 and len(set(shape[2:])) > 1 and last in possible:
        return last, "convolution, by its sizes"
    if rank == 3 and framework is None and shape[0] < min(shape[1:]) and last in possible:
        return last, "convolution, by its sizes"
    return possible[0], "convolution, outputs taken to be first; --layout can say otherwise"
