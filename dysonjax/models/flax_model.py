"""Any flax module with a loss as a model of the engine."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dysonjax import checks
from dysonjax.models.base import Model, Start, Update, split
from dysonjax.weights.layouts import as_matrices, dimensions
from dysonjax.weights.trees import flax_layouts

EVALUATED = 1024  # samples on which the losses are recorded
MOST_LABELS = 1024  # of which one sample each is tried


def wrap_flax(
    module: nn.Module,
    loss: Callable[[jax.Array, Any], jax.Array],
    data: Any,
    *,
    test: Any = None,
    matrices: Callable[[str], bool] | None = None,
    training: Mapping[str, Any] | None = None,
    max_loss: float = np.inf,
    name: str | None = None,
) -> Model:
    """Make a flax.linen module, learning from data, a model for `dj.train`.

    Parameters
    ----------
    module : flax.linen.Module
        The network. Modules with state beside their parameters, such as BatchNorm, are refused.
    loss : callable
        loss(outputs, batch) gives the mean loss of a batch, shape (), where outputs = module(batch[0]).
    data : tuple of array, or callable
        Arrays with a common first axis, such as (inputs, targets), of which every step draws |B| samples at
        random; or a function (key, size) that gives a batch of fresh samples. Arrays become constants of the
        compiled program and are shared by all networks.
    test : tuple of array, optional
        Arrays of the same kind. They add the observable `test_loss`.
    matrices : callable, optional
        Which weights to record, by a function of their names; by default all.
    training : mapping, optional
        Further arguments of the module in training, such as {"train": True}. Randomness named "dropout" is
        new in every step.
    max_loss : float, default inf
        A network whose batch loss lies above it, or is not finite, is frozen.
    name : str, optional
        Name of the model, by default that of the module's class.

    Returns
    -------
    Model
        sigma_w of the grid multiplies the initial kernels. flax starts them with variance 1/n_in, so that
        sigma_w is their width times √n_in.

    Raises
    ------
    InputError
        If the module has state beside its parameters, if data have no samples, unequal first axes, numbers
        that are not finite or labels beyond the outputs, or if the filter leaves no matrix.

    Notes
    -----
    The name of a matrix is the path in the module, such as `Dense_0` or `Block_1_Conv_0`. Kernels of
    convolutions count as matrices (height·width·channels, features), those of attention as
    (inputs, heads·size) and (heads·size, outputs). Of a stack made by nn.scan every layer is a matrix of its
    own, `Block_0`, `Block_1` and so on.

    Examples
    --------
    >>> import flax.linen as nn
    >>> network = nn.Sequential([nn.Dense(16), nn.tanh, nn.Dense(1)])
    >>> x = np.linspace(-1, 1, 100)[:, None]
    >>> def mean_square(outputs, batch):
    ...     return jnp.mean((outputs - batch[1]) ** 2)
    >>> model = dj.models.wrap_flax(network, mean_square, (x, np.sin(3 * x)))
    >>> model.config["matrices"], model.config["parameters"]
    (['layers_0', 'layers_2'], 49)
    """
    if not isinstance(module, nn.Module):
        kind = (
            f"the class {module.__name__}, not called" if isinstance(module, type) else type(module).__name__
        )
        raise checks.InputError(
            f"module must be a flax.linen module, such as Net(), got {kind}; other networks, also those of "
            "nnx, are written as a dj.models.Model"
        )
    online = callable(data)
    arrays = () if online else _arrays("data", data)
    held_out = None if test is None else _arrays("test", test)
    options = dict(training or {})
    example: Any = jax.eval_shape(lambda: data(jax.random.key(0), 1)) if online else arrays
    inputs = jax.tree.map(lambda a: jnp.zeros((1, *a.shape[1:]), a.dtype), example[0])
    variables = _shapes("module", lambda: module.init(jax.random.key(0), inputs), inputs)
    if set(variables) != {"params"}:
        other = ", ".join(sorted(set(variables) - {"params"})) or "no parameters"
        raise checks.InputError(
            f"module must have parameters and no other state, got {other}; LayerNorm and GroupNorm have none"
        )
    names = [key for key in _kernels(variables["params"]) if matrices is None or matrices(key)]
    if not names:
        found = ", ".join(_kernels(variables["params"])) or "none"
        raise checks.InputError(f"the filter leaves no weight matrix; the module's are: {found}")

    def world(key, batch_size):
        return ()

    def init(key, world, point):
        params = module.init(key, inputs)["params"]

        def scaled(path, leaf):
            return jnp.asarray(point["sigma_w"], leaf.dtype) * leaf if path[-1].key == "kernel" else leaf

        return Start(jax.tree.map_with_path(scaled, params))

    def batch(key, world, step, batch_size):
        key_data, key_dropout = split(key)
        if online:
            return data(key_data, batch_size), key_dropout
        chosen = jax.random.randint(key_data, (batch_size,), 0, len(arrays[0]))
        return tuple(jnp.asarray(array)[chosen] for array in arrays), key_dropout

    def value(params, samples, key=None):
        if key is None:
            outputs: Any = module.apply({"params": params}, samples[0])
            return loss(outputs, samples)
        outputs = module.apply({"params": params}, samples[0], rngs={"dropout": key}, **options)
        return loss(outputs, samples)

    def first_loss(samples):
        return value(module.init(jax.random.key(0), inputs)["params"], samples)

    few = jax.tree.map(lambda a: jnp.zeros((min(2, a.shape[0]), *a.shape[1:]), a.dtype), example)
    found = _shapes("loss", lambda: first_loss(few), few[0])
    if getattr(found, "shape", None) != ():
        raise checks.InputError(
            f"loss must return one number, the mean over a batch, got {getattr(found, 'shape', found)}"
        )
    for what, given in (("data", arrays), ("test", held_out)):
        if given:
            _check_data(what, given, first_loss)

    def update(params, memory, drawn, world, point):
        samples, key = drawn
        result, direction = jax.value_and_grad(value)(params, samples, key)
        healthy = (result <= max_loss) & jnp.isfinite(result) & jnp.isfinite(_square(direction))
        return Update(direction, memory, result, healthy)

    def observe(params, initial, world, key, point):
        sample = data(key, EVALUATED) if online else _evaluated(arrays)
        result, gradient = jax.value_and_grad(value)(params, sample)
        numbers = {"train_loss": result, "grad_norm": jnp.sqrt(_square(gradient))}
        return numbers if held_out is None else numbers | {"test_loss": value(params, _evaluated(held_out))}

    def recorded(params):
        kernels = _kernels(params)
        return {key: kernels[key] for key in names}

    observables = {
        "train_loss": f"loss on {EVALUATED} {'fresh' if online else 'training'} samples at most",
        "grad_norm": "Euclidean norm of the gradient of train_loss",
    }
    if held_out is not None:
        observables["test_loss"] = f"loss on {EVALUATED} test samples at most"
    return Model(
        name=name or type(module).__name__,
        world=world,
        init=init,
        batch=batch,
        update=update,
        matrices=recorded,
        observe=observe,
        observables=observables,
        config={
            "module": str(module),
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables)),
            "samples": None if online else len(arrays[0]),
            "data_sha256": None if online else _hash(arrays),
            "matrices": names,
            "max_loss": None if np.isinf(max_loss) else float(max_loss),
        },
    )


def _shapes(what: str, function: Callable[[], Any], inputs: jax.Array) -> Any:
    """Shapes of what a function of the user's returns; raises InputError, with what it gets, if it fails."""
    try:
        return jax.eval_shape(function)
    except Exception as error:
        gets = (
            f"inputs of shape {inputs.shape}" if what == "module" else "(outputs, batch), labels in batch[1]"
        )
        said = str(error).strip().split("\n")[0].rstrip(".")
        raise checks.InputError(f"{what} fails; it gets {gets}: {type(error).__name__}: {said}") from error


def _check_data(name: str, arrays: tuple, loss) -> None:
    """Raise InputError for NaN or infinity in the data, or a label for which the loss is no number.

    Losses answer a label beyond the outputs with NaN: networks would all count as diverged at step 0. One
    sample of every label is tried, of `MOST_LABELS` at most.
    """
    loss = jax.jit(loss)
    for array in arrays:
        values = np.asarray(array)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int(values.size - np.isfinite(values).sum())
            raise checks.InputError(f"{name} must be finite, but {bad} of its numbers are NaN or infinite")
    for array in arrays[1:]:
        labels = np.asarray(array)
        if labels.dtype.kind not in "iu":
            continue
        known, places = np.unique(labels, return_index=True)
        tried = np.unique(np.linspace(0, len(known) - 1, MOST_LABELS).round().astype(int))
        for label, place in zip(known[tried], places[tried] // (labels.size // len(labels)), strict=True):
            found = float(loss(tuple(jnp.asarray(a[place : place + 1]) for a in arrays)))
            if not np.isfinite(found):
                raise checks.InputError(
                    f"the loss of sample {place} of {name}, with the label {label}, is {found} before"
                    " the first step; labels must lie within the outputs of the module"
                )


def _arrays(name: str, data: Any) -> tuple[np.ndarray, ...]:
    arrays = tuple(np.asarray(array) for array in data) if isinstance(data, tuple | list) else ()
    lengths = {array.shape[0] if array.ndim else 0 for array in arrays}
    if len(lengths) != 1 or lengths == {0}:
        shapes = ", ".join(str(array.shape) for array in arrays) or type(data).__name__
        raise checks.InputError(
            f"{name} must be a tuple of arrays with a common, non-empty first axis, got {shapes}"
        )
    # As JAX will hold them: float64 data would otherwise meet float32 weights.
    return tuple(array.astype(jax.dtypes.canonicalize_dtype(array.dtype)) for array in arrays)


def _evaluated(arrays: tuple[np.ndarray, ...]) -> tuple[jax.Array, ...]:
    chosen = np.unique(np.linspace(0, len(arrays[0]) - 1, EVALUATED).round().astype(int))
    return tuple(jnp.asarray(array[chosen]) for array in arrays)


def _kernels(params: Mapping) -> dict[str, Any]:
    """The matrices of all kernels by the path of their layer, shapes alone if `params` are shapes."""
    leaves = {"/".join(part.key for part in path): leaf for path, leaf in jax.tree.leaves_with_path(params)}
    layouts = flax_layouts({name: leaf.shape for name, leaf in leaves.items()})
    found = {}
    for name, layout in layouts.items():
        *layer, last = name.split("/")
        if last != "kernel":
            continue
        count = dimensions(leaves[name].shape, layout)[0]
        abstract = isinstance(leaves[name], jax.ShapeDtypeStruct)
        slices = [None] * count if abstract else as_matrices(leaves[name], layout)
        for index in range(count):
            key = "_".join(layer) + (f"_{index}" if "e" in layout else "")
            found[key] = slices[index]
    return found


def _square(tree) -> jax.Array:
    return sum((jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))


def _hash(arrays: tuple[np.ndarray, ...]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
