"""What the neighbours of a tensor say about it: the bias of its layer, and whether layers are stacked."""

from collections import defaultdict

from dysonjax.weights import names
from dysonjax.weights.tensor import Tensor

# Words that are nothing else; `b`, `scale` or `mean` may as well be the name of somebody's matrix.
_CERTAIN = {
    "bias",
    "biases",
    "running_mean",
    "running_var",
    "moving_mean",
    "moving_variance",
    "gamma",
    "beta",
}


class Siblings:
    """Tensors by the layer that they belong to."""

    def __init__(self, tensors: tuple[Tensor, ...], framework: str | None):
        self._framework = framework
        self._layers: dict[str, list[Tensor]] = defaultdict(list)
        for tensor in tensors:
            self._layers[names.module(tensor.name)].append(tensor)
        self._stacks = set() if framework in ("torch", "onnx", "keras", "mlx") else _stacks(tensors)

    def bias_of(self, tensor: Tensor) -> tuple[int, ...] | None:
        """Shape of the bias of the same layer."""
        of = self._layers[names.module(tensor.name)]
        last = names.leaf(tensor.name)
        # `c_fc/kernel` and `c_fc/bias`, `in_proj_weight` and `in_proj_bias`, `conv1_W` and `conv1_b`.
        stem = last.removesuffix("weights").removesuffix("weight").removesuffix("kernel").removesuffix("w")
        expected = {f"{stem}{word}" for word in ("bias", "biases", "b")}
        found = [t.shape for t in of if names.leaf(t.name) in expected and t is not tensor]
        if not found and self._framework == "keras" and last.isdecimal():  # variables without names
            found = [t.shape for t in of if t is not tensor and names.leaf(t.name).isdecimal()]
            found = [shape for shape in found if len(shape) < len(tensor.shape)]
        return found[0] if len(found) == 1 else None

    def is_stacked(self, tensor: Tensor) -> bool:
        """Whether a whole group of layers around it has its first axis in common."""
        of = names.parts(tensor.name)
        return any(of[:length] in self._stacks for length in range(len(of)))

    def is_unnamed_bias(self, tensor: Tensor) -> bool:
        """Whether it is a bias of two axes in a layer of Keras, whose variables have numbers: that of an
        attention kernel, or the two of a GRU (of inputs and of states)."""
        if self._framework != "keras" or not names.leaf(tensor.name).isdecimal():
            return False
        beside = {names.leaf(t.name): t.shape for t in self._layers[names.module(tensor.name)]}
        kernel, recurrent, shape = beside.get("0", ()), beside.get("1", ()), tensor.shape
        if names.leaf(tensor.name) == "2" and len(shape) == len(kernel) == len(recurrent) == 2:
            return shape[0] == 2 and shape[1] == kernel[1] == recurrent[1]
        return len(kernel) > len(shape) and kernel[-len(shape) :] == shape

    def is_secondary(self, tensor: Tensor, role: str) -> bool:
        """Whether a tensor with the name of a bias or a norm is one, though it has two long axes."""
        if names.leaf(tensor.name) in _CERTAIN or role == "statistic":
            return True
        beside = self._layers[names.module(tensor.name)]
        kernels = [t for t in beside if names.says_torch(t.name) is not None and t is not tensor]
        larger = [t for t in kernels if len(t.shape) >= 2 and t.size > tensor.size]
        return bool(larger) or (role == "norm" and names.says_torch(tensor.name) is not None)


def _stacks(tensors: tuple[Tensor, ...]) -> set[tuple[str, ...]]:
    """Prefixes of names under which every tensor has the same first axis, vectors of norms and biases too."""
    under: dict[tuple[str, ...], list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        of = names.parts(tensor.name)
        if names.role(tensor.name) != "optimiser":
            for length in range(len(of)):  # none: the whole file
                under[of[:length]].append(tensor)
    return {prefix for prefix, group in under.items() if _is_stack(prefix, group)}


def _is_stack(prefix: tuple[str, ...], group: list[Tensor]) -> bool:
    first = {t.shape[0] if t.shape else 0 for t in group}
    if len(group) < 2 or len(first) != 1 or first & {0, 1} or any(len(t.shape) < 2 for t in group):
        return False
    if any(names.says_torch(t.name) for t in group) or not any(len(t.shape) > 2 for t in group):
        return False
    # Vectors of norms and biases with two axes tell; of an attention layer the first axes differ.
    if any(names.role(t.name) in ("bias", "norm", "statistic") for t in group):
        return True
    return names.is_stack("/".join((*prefix, "kernel"))) and all(len(t.shape) > 2 for t in group)
