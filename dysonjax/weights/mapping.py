"""Weights that are in memory already: dictionaries of arrays, flax parameters, PyTorch modules, Keras
models."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dysonjax.checks import InputError
from dysonjax.weights.tensor import Checkpoint, Tensor, tensor_of, unreadable

_DEEPEST = 60


def from_memory(source: Any) -> Checkpoint:
    """A `Checkpoint` of a mapping from names to arrays, nested or flat; of anything with a `state_dict()`,
    such as a torch module; of a flax.nnx state; of a Keras model; or of one array.

    Arrays may be those of NumPy, JAX or PyTorch. Nothing is copied until it is analysed.
    Raises InputError for anything else.
    """
    framework = None
    if callable(getattr(source, "state_dict", None)):
        source, framework = source.state_dict(), "torch"
    elif type(source).__module__.startswith("flax.nnx"):
        from flax import nnx

        state = source if isinstance(source, nnx.State) else nnx.state(source, nnx.Param)
        source, framework = nnx.to_pure_dict(state), "flax"
    elif not isinstance(source, Mapping) and hasattr(source, "weights") and hasattr(source, "layers"):
        source, framework = {w.path: np.asarray(w) for w in source.weights}, "keras"
    if _is_array(source):
        source = {"matrix": source}
    if not isinstance(source, Mapping):
        raise InputError(
            f"weights must be a path, a mapping from names to arrays, flax parameters, a torch module or its "
            f"state_dict(), got {type(source).__name__}"
        )
    tensors = tuple(_tensors(source, "", 0))
    if framework is None and tensors and all(_is_torch(value) for value in _leaves(source)):
        framework = "torch"
    return Checkpoint(None, "memory", framework, tensors)


def _tensors(source: Mapping, prefix: str, depth: int) -> Iterator[Tensor]:
    if depth > _DEEPEST:
        raise InputError("the mapping is nested without end")
    for key, value in source.items():
        name = f"{prefix}{key}"
        if isinstance(value, list | tuple) and value and all(map(_is_array, value)):
            value = dict(enumerate(value))
        if isinstance(value, Mapping):
            yield from _tensors(value, f"{name}/", depth + 1)
        elif _is_torch(value):
            yield _of_torch(name, value)
        elif _is_array(value):
            # The dtype is asked of the array itself: of a JAX array without fetching it from its device.
            dtype = np.dtype(value.dtype) if not isinstance(value.dtype, np.dtype) else value.dtype
            yield tensor_of(name, dtype, value.shape, lambda value=value: np.asarray(value))
        elif value is not None:
            yield unreadable(name, (), "object", f"a {type(value).__name__}, no array")


def _of_torch(name: str, value: Any) -> Tensor:
    label = str(value.dtype).removeprefix("torch.")
    floating, complex_ = value.dtype.is_floating_point, value.dtype.is_complex
    whole = "bool" if label == "bool" else "integer"
    kind = "float" if floating else "complex" if complex_ else whole

    def read() -> np.ndarray:
        array = value.detach().cpu()
        # NumPy lacks bfloat16 and the 8-bit floats of PyTorch.
        return (array.float() if floating and label != "float64" else array).numpy()

    memory = value.untyped_storage().data_ptr()
    place = (memory, value.storage_offset(), tuple(value.shape), tuple(value.stride()))
    return Tensor(name, tuple(value.shape), label, kind, read, storage=place if memory else None)


def _is_torch(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach")


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, Mapping)


def _leaves(source: Mapping) -> Iterator[Any]:
    for value in source.values():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield value
