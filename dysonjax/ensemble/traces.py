"""What tracing and lowering a step give, kept between runs.

Python takes seconds to trace the programs of a model, as long as training takes for a first picture. What it
arrives at (shapes, C, machine code) is kept under all that it depends on, see `trace_key`: by a process for
its later runs, and by the commands for later commands. What has no such key is traced in every run.
"""

import collections
import contextlib
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from dysonjax.compile import kept
from dysonjax.ensemble.devices import setting

KIND = "traced"  # the folder in the cache, and the ending of its files
MOST_IN_MEMORY = 96  # results of one process: of a dozen models, batch sizes and shapes of a tile
Made = TypeVar("Made")
_COMPILING = threading.Lock()


class _Memory:
    """The results that were asked for last, by their keys."""

    def __init__(self, most: int):
        self.most = most
        self.found: collections.OrderedDict[str, Any] = collections.OrderedDict()
        self.lock = threading.Lock()

    def recall(self, key: str) -> Any:
        with self.lock:
            if key in self.found:
                self.found.move_to_end(key)
            return self.found.get(key)

    def keep(self, key: str, made: Any) -> None:
        with self.lock:
            self.found[key] = made
            self.found.move_to_end(key)
            while len(self.found) > self.most:
                self.found.popitem(last=False)


MEMORY = _Memory(MOST_IN_MEMORY)


def forget() -> None:
    """Trace and compile everything anew, as a new process does."""
    with MEMORY.lock:
        MEMORY.found.clear()


class Traces(NamedTuple):
    """What is kept of one job."""

    key: str | None  # of all that tracing depends on; None: nothing is kept
    devices: tuple[jax.Device, ...]
    on_disk: bool = False  # for other processes too

    def kept(self, what: str, of: Any, make: Callable[[], Made]) -> Made:
        """What was made before under a name for arrays of these shapes, or what `make` makes.

        of: a tree of arrays or their shapes, and of numbers and words. What `make` raises is not kept.
        """
        if self.key is None:
            return make()
        key = self._key_of(what, of)
        found = self._recalled(key, pickle.loads)
        if found is None:
            found = make()
            self._write(key, lambda: found)
        MEMORY.keep(key, found)
        return found

    def program(self, what: str, program: Any, *arguments: Any) -> Callable[[], Callable]:
        """How to compile a program of XLA, made by `jax.jit`, for arguments of these shapes.

        It is traced at once, and only if there is no machine code: threads that compile have none of the
        settings under which this one traces.
        """
        if self.key is None:
            return program.lower(*arguments).compile
        key = self._key_of(what, arguments)
        found = self._recalled(key, self._loaded)
        if found is not None:
            MEMORY.keep(key, found)
            return lambda: found
        lowered = program.lower(*arguments)

        def compile():
            with _without_jax_cache() if self.on_disk else contextlib.nullcontext():
                done = lowered.compile()
            with contextlib.suppress(ValueError, NotImplementedError):  # programs that have no such form
                self._write(key, lambda: serialize_executable.serialize(done))
            MEMORY.keep(key, done)
            return done

        return compile

    def _loaded(self, content: bytes) -> Callable:
        client = self.devices[0].client
        program, inputs, outputs = pickle.loads(content)
        return serialize_executable.deserialize_and_load(
            program, inputs, outputs, backend=client, execution_devices=self.devices
        )

    def _recalled(self, key: str, load: Callable[[bytes], Any]) -> Any:
        found = MEMORY.recall(key)
        content = kept.recall(KIND, key) if found is None and self.on_disk else None
        try:
            return found if content is None else load(content)
        except Exception:  # whatever a file of a library that was changed under its version number raises
            return None

    def _write(self, key: str, made: Callable[[], Any]) -> None:
        if self.on_disk:
            with contextlib.suppress(pickle.PicklingError, TypeError, AttributeError):
                kept.keep(KIND, key, pickle.dumps(made()))

    def _key_of(self, what: str, of: Any) -> str:
        return kept.key(str(self.key), what, _described(of))


@contextlib.contextmanager
def _without_jax_cache() -> Iterator[None]:
    """What JAX has read from its own cache cannot be written again: it would lack its functions."""
    with _COMPILING:
        before = setting("jax_enable_compilation_cache")
        try:
            jax.config.update("jax_enable_compilation_cache", False)
            reset_cache()  # or JAX would go by what it found when it looked first
            yield
        finally:
            jax.config.update("jax_enable_compilation_cache", before)
            reset_cache()


def _described(of: Any) -> str:
    """Shapes and types of arrays in a tree, its structure, and whatever else it holds."""
    leaves, tree = jax.tree.flatten(of)
    words = []
    for leaf in leaves:
        if isinstance(leaf, np.ndarray | np.generic | jax.Array | jax.ShapeDtypeStruct):
            words.append(f"{leaf.shape} {leaf.dtype} {getattr(leaf, 'sharding', None)}")
        else:
            words.append(repr(leaf))
    return "\n".join((str(tree), *words))
