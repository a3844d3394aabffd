"""Layouts of the parameters of a flax module, from their names and shapes alone."""

from collections.abc import Mapping

from dysonjax.weights import evidence
from dysonjax.weights.groups import Siblings
from dysonjax.weights.tensor import Tensor


def flax_layouts(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Layouts of the kernels (two axes and more) among tensors of these shapes, by path joined with `/`."""
    tensors = tuple(
        Tensor(name, tuple(shape), "float32", "float", _no_entries) for name, shape in shapes.items()
    )
    siblings = Siblings(tensors, "flax")
    found = {}
    for tensor in tensors:
        if len(tensor.shape) == 2:
            found[tensor.name] = "io"
        elif sum(n > 1 for n in tensor.shape) >= 2:
            bias, stacked = siblings.bias_of(tensor), siblings.is_stacked(tensor)
            found[tensor.name] = evidence.choose(tensor.name, tensor.shape, "flax", bias, stacked)[0]
    return found


def _no_entries():
    raise AssertionError("a shape has no entries")
