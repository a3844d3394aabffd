"""Every tensor of a checkpoint accounted for: which matrices it makes, or why it makes none."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import ArrayLike

from dysonjax.checks import InputError
from dysonjax.weights import evidence, layouts, lora, names, scales, splits
from dysonjax.weights.dtypes import kind_of
from dysonjax.weights.groups import Siblings
from dysonjax.weights.tensor import Checkpoint, Tensor

FRAMEWORKS = ("torch", "keras", "flax", "onnx", "mlx")
INTEGERS = "integers, perhaps quantised: dequantise first"


@dataclass(frozen=True)
class Matrix:
    """One matrix, or an ensemble of them, that a checkpoint holds."""

    name: str
    """of the tensor, with the part in brackets where it holds several"""
    tensors: tuple[str, ...]
    """what it is made of"""
    role: str
    """`weight`, `embedding`, `head`, `convolution`, `attention`, `experts`, `adapter` or `members`"""
    how: str
    """how the tensor became a matrix"""
    why: str
    """what told so"""
    members: int
    """matrices of the ensemble, 1 for a single one"""
    inputs: int
    """length of the side of the inputs"""
    outputs: int
    """length of the side of the outputs"""
    read: Callable[[], np.ndarray] = field(repr=False)
    """the matrices, shape (members, inputs, outputs); raises InputError if they cannot be read"""


@dataclass(frozen=True)
class Account:
    """What became of one tensor of the file."""

    name: str
    """of the tensor"""
    shape: tuple[int, ...]
    """of the tensor"""
    dtype: str
    """type of its entries, as the file gives it"""
    done: str
    """`matrix`, `used` by another, `skipped` by its nature or `refused`: a weight that could not be read"""
    why: str
    """the reason, for people"""


@dataclass(frozen=True)
class Plan:
    """Which matrices are analysed, and what became of every tensor."""

    matrices: tuple[Matrix, ...]
    """what is analysed"""
    accounts: tuple[Account, ...]
    """one for every tensor, in the order of the file"""


def plan(checkpoint: Checkpoint, layout: Iterable[str] = (), split: Iterable[str] = ()) -> Plan:
    """Decide what of a checkpoint is analysed, and account for every tensor.

    No entries are read but those of tied embeddings.

    Parameters
    ----------
    checkpoint : Checkpoint
        The tensors, as `open_checkpoint` lists them.
    layout : iterable of str, default ()
        Rules `PATTERN=LETTERS` with one letter for each axis: `i` input, `o` output, `k` position in a
        kernel, `e` one matrix for each slice. Or the name of a framework, for all tensors. A pattern is a
        part of a name, or has wildcards (`*`).
    split : iterable of str, default ()
        Rules `PATTERN=PARTS` for fused tensors. Parts are a number of equal ones, sizes, `heads:N`,
        `heads:Nx3` or `no`.

    Returns
    -------
    Plan
        Matrices and accounts.

    Raises
    ------
    InputError
        For a rule that fits no tensor, or not its shape.

    Examples
    --------
    >>> np.savez("weights.npz", layer=np.zeros((4, 3)), bias=np.zeros(3))
    >>> from dysonjax import weights
    >>> [(a.name, a.done, a.why) for a in weights.plan(weights.open_checkpoint("weights.npz")).accounts]
    [('layer', 'matrix', 'as stored'), ('bias', 'skipped', 'a bias')]
    """
    rules = _Rules(layout, split)
    framework = rules.framework or checkpoint.framework
    siblings = Siblings(checkpoint.tensors, framework)
    pairs = lora.pairs(checkpoint.tensors, framework, checkpoint.config)
    factor_of = {t.name: pair for pair in pairs for t in (pair.down, pair.up)}
    scale_of = scales.partners(checkpoint.tensors)
    weight_of = {partner.name: name for name, partner in scale_of.items()}
    twins = _tied(checkpoint.tensors)
    matrices: list[Matrix] = []
    accounts: list[Account] = []

    def account(tensor: Tensor, done: str, why: str) -> None:
        note = f"{why}; {tensor.note}" if why and tensor.note else why or tensor.note
        accounts.append(Account(tensor.name, tensor.shape, tensor.dtype, done, note))

    for tensor in checkpoint.tensors:
        pair = factor_of.get(tensor.name)
        explicit = rules.layout_of(tensor)
        if tensor.name in weight_of:
            account(tensor, "used", f"scale of {weight_of[tensor.name]}, multiplied into it")
        elif pair is not None:
            if tensor is pair.down:
                rows, columns = pair.shape
                how = lora.shaped(pair)
                matrices.append(
                    Matrix(
                        pair.name,
                        (pair.down.name, pair.up.name),
                        "adapter",
                        how,
                        "factors of LoRA by their names",
                        1,
                        rows,
                        columns,
                        pair.read,
                    )
                )
            account(tensor, "used", f"factor of {pair.name}: {lora.shaped(pair)}")
        elif tensor.members:
            matrices.append(_members(tensor))
            account(tensor, "matrix", "one matrix a member")
        elif reason := _no_matrix(tensor, siblings, explicit is not None):
            account(tensor, *reason)
        elif tensor.name in twins:
            account(tensor, "used", f"tied: the same entries as {twins[tensor.name]}, analysed once")
        else:
            scale = scale_of.get(tensor.name)
            made, why = _matrices(tensor, rules, explicit, siblings, framework, checkpoint.config, scale)
            matrices += made
            account(tensor, "matrix" if made else "skipped", why)
    rules.check_all_used()
    return Plan(tuple(matrices), tuple(accounts))


def as_matrix(
    tensor: Tensor | ArrayLike, name: str = "", layout: str | None = None
) -> tuple[np.ndarray, str]:
    """Reshape a weight tensor to a matrix, and say how.

    Parameters
    ----------
    tensor : array_like
        Two axes or more.
    name : str, default ""
        Its name. It decides between the orders of the frameworks where the sizes do not (`conv/kernel`,
        `conv.weight`).
    layout : str, optional
        One letter for each axis instead, see `dysonjax.weights.plan`.

    Returns
    -------
    matrix : ndarray
        The matrix with its sides in the order of the tensor's axes; a stack has its slices first.
    how : str
        How the tensor was reshaped.

    Raises
    ------
    InputError
        For fewer than 2 axes, an empty tensor, or one that is not of real floats.

    Examples
    --------
    A kernel of PyTorch has its outputs first, then inputs and the positions in the kernel.

    >>> matrix, how = dj.spectra.as_matrix(np.zeros((16, 3, 5, 5)), name="conv1.weight")
    >>> matrix.shape, how
    ((16, 75), 'out × (3·5·5)')
    """
    tensor = np.asarray(tensor)
    if tensor.ndim < 2 or 0 in tensor.shape:
        raise InputError(f"a tensor of shape {tensor.shape} is not a matrix")
    if kind_of(tensor.dtype) != "float":
        raise InputError(f"entries of type {tensor.dtype} are not real floating-point numbers")
    if layout is None:
        if tensor.ndim == 2:
            return tensor, "as stored"
        long = sum(n > 1 for n in tensor.shape)
        layout = evidence.choose(name, tensor.shape)[0] if long > 1 else "i" * (tensor.ndim - 1) + "o"
    layouts.checked(layout, tensor.shape, name)
    matrices = layouts.as_matrices(tensor, layout)
    if layouts.out_first(layout):
        matrices = matrices.swapaxes(1, 2)
    return (matrices if "e" in layout else matrices[0]), layouts.described(tensor.shape, layout)


def _members(tensor: Tensor) -> Matrix:
    count, rows, columns = tensor.shape
    return Matrix(
        tensor.name, (tensor.name,), "members", "as stored", "a run", count, rows, columns, tensor.read
    )


def _no_matrix(tensor: Tensor, siblings: Siblings, forced: bool) -> tuple[str, str] | None:
    """(done, why) for a tensor that makes no matrix."""
    role = names.role(tensor.name)
    if tensor.problem:
        return ("skipped" if tensor.dtype == "object" else "refused"), tensor.problem
    if 0 in tensor.shape:
        return "skipped", "it has no entries"
    if role == "optimiser":
        return "skipped", "state of the optimiser"
    long = sum(n > 1 for n in tensor.shape)
    if tensor.kind == "bool":
        return "skipped", "true and false: a mask"
    if tensor.kind == "integer":
        narrow = tensor.dtype.lower().lstrip("ui").removeprefix("nt") in ("2", "4", "8")
        if names.is_quantised(tensor.name) or (narrow and long >= 2):
            return "refused", INTEGERS
        return "skipped", INTEGERS if long >= 2 else "integers: a counter or an index"
    if tensor.kind == "complex":
        return "refused", f"entries of type {tensor.dtype} are complex; the laws here are of real matrices"
    if tensor.kind != "float":
        return "refused", f"entries of type {tensor.dtype} are not real floating-point numbers"
    if forced:
        return None
    if long < 2:
        kind = {"bias": "a bias", "norm": "scale of a norm", "statistic": "a statistic of the data"}.get(role)
        if len(tensor.shape) >= 2 and kind is None:
            return "skipped", "a single row or column: it has a single level"
        return "skipped", kind or ("a vector" if tensor.size > 1 else "a single number")
    if siblings.is_stacked(tensor) and long == 2 and role in ("bias", "norm", "statistic"):
        return "skipped", f"a stack of vectors ({role})"
    if siblings.is_unnamed_bias(tensor):
        return "skipped", "a bias"
    if role in ("bias", "norm", "statistic") and siblings.is_secondary(tensor, role):
        return "skipped", {"bias": "a bias", "norm": "scale of a norm", "statistic": "a statistic"}[role]
    return None


def _matrices(
    tensor: Tensor,
    rules: "_Rules",
    explicit: str | None,
    siblings: Siblings,
    framework: str | None,
    config: dict,
    scale: Tensor | None,
) -> tuple[list[Matrix], str]:
    name, shape = tensor.name, tensor.shape
    if explicit is not None:
        layout, why = layouts.checked(explicit, shape, name), "by --layout"
    elif tensor.layout and rules.framework is None:
        layout, why = layouts.checked(tensor.layout, shape, name), "by the operation that uses it"
    else:
        layout, why = evidence.choose(
            name, shape, framework, siblings.bias_of(tensor), siblings.is_stacked(tensor)
        )
    role = names.role(name)
    if role == "weight" and (names.attention_side(name) or names.is_fused_qkv(name)):
        role = "attention"
    elif role == "weight" and "k" in layout:
        role = "convolution"
    role = {"bias": "weight", "norm": "weight", "statistic": "weight"}.get(role, role)
    members, inputs, outputs = layouts.dimensions(shape, layout)
    how = layouts.described(shape, layout)
    if min(inputs, outputs) < 2:
        return [], f"{how}: a single row or column, it has a single level"
    wish = rules.split_of(tensor)
    if wish is not None:
        cut, reason = splits.parse(wish, outputs, name), "by --split"
    else:
        cut, reason = splits.fused(name, shape, layout, config)
    if scale is not None:
        reason = "; ".join(filter(None, (reason, f"times its scale {scale.name}")))
    why = "; ".join(filter(None, (why, reason)))

    def read() -> np.ndarray:
        array = tensor.read()
        if tuple(array.shape) != shape:
            raise InputError(f"it has the shape {array.shape} where {shape} was announced")
        if scale is not None:
            array = scales.applied(array, scale)
        return layouts.as_matrices(array, layout)

    def made(label: str, members: int, outputs: int, how: str, read) -> Matrix:
        full = f"{name} [{label}]" if label else name
        return Matrix(full, (name,), role, how, why, members, inputs, outputs, read)

    account = "; ".join(filter(None, (how, why)))
    if cut is None:
        return [made("", members, outputs, how, read)], account
    if cut.heads and not cut.interleaved:
        size = outputs // cut.heads
        how = f"{cut.heads} heads of in × {size}"
        one = made("heads", members * cut.heads, size, how, lambda: splits.cut(read(), cut)[0])
        return [one], f"{how}; {why}"
    sizes = cut.sizes or (outputs // cut.interleaved,) * cut.interleaved
    found = []
    for index, size in enumerate(sizes):

        def part(index=index) -> np.ndarray:
            return splits.cut(read(), cut)[index]

        found.append(made(cut.labels[index], members, size, f"{how}, part of {len(sizes)}", part))
    return found, f"{account}: {len(sizes)} matrices"


class _Rules:
    """What a person said about layouts and splits, by patterns of names."""

    def __init__(self, layout: Iterable[str], split: Iterable[str]):
        self.framework: str | None = None
        self._layouts, self._splits = [], []
        self._used: set[str] = set()
        for rule in layout:
            if rule in FRAMEWORKS:
                self.framework = rule
            else:
                self._layouts.append(self._parsed("layout", rule, f"or one of {', '.join(FRAMEWORKS)}"))
        for rule in split:
            self._splits.append(self._parsed("split", rule, splits.HELP))

    @staticmethod
    def _parsed(what: str, rule: str, allowed: str) -> tuple[str, str, str]:
        pattern, equals, value = rule.rpartition("=")
        if not (equals and pattern and value):
            raise InputError(f"{what} must be PATTERN=VALUE ({allowed}), got {rule!r}")
        return rule, pattern, value

    def layout_of(self, tensor: Tensor) -> str | None:
        return self._last(self._layouts, tensor.name)

    def split_of(self, tensor: Tensor) -> str | None:
        return self._last(self._splits, tensor.name)

    def _last(self, rules, name: str) -> str | None:
        """The last rule that fits: later ones are the exceptions."""
        found = None
        for rule, pattern, value in rules:
            if fnmatchcase(name, pattern) if set(pattern) & set("*?") else pattern in name:
                self._used.add(rule)
                found = value
        return found

    def check_all_used(self) -> None:
        for what, rules in (("layout", self._layouts), ("split", self._splits)):
            for rule, pattern, _ in rules:
                if rule not in self._used:
                    raise InputError(f"{what} {rule!r} fits no weight: no name contains {pattern!r}")


def _tied(tensors: tuple[Tensor, ...]) -> dict[str, str]:
    """Second names of tensors that the file holds twice -> the first name."""
    twins: dict[str, str] = {}
    first: dict = {}
    for tensor in tensors:
        if tensor.storage is not None and not tensor.problem and len(tensor.shape) >= 2:
            original = first.setdefault(tensor.storage, tensor)
            if original is not tensor:
                twins[tensor.name] = original.name
    # Formats without shared storage hold an embedding and its head as copies.
    marked = [
        t
        for t in tensors
        if t.kind == "float"
        and len(t.shape) == 2
        and t.name not in twins
        and names.role(t.name) in ("embedding", "head")
    ]
    by_shape: dict = {}
    for tensor in marked:
        by_shape.setdefault((tensor.shape, tensor.dtype), []).append(tensor)
    for alike in by_shape.values():
        if len(alike) > 1 and {names.role(t.name) for t in alike} == {"embedding", "head"}:
            seen: dict[bytes, str] = {}
            for tensor in alike:
                original = seen.setdefault(_digest(tensor), tensor.name)
                if original != tensor.name:
                    twins[tensor.name] = original
    return twins


def _digest(tensor: Tensor) -> bytes:
    try:
        return hashlib.blake2b(np.ascontiguousarray(tensor.read()).tobytes()).digest()
    except InputError:  # it will be reported where it is analysed
        return tensor.name.encode()
