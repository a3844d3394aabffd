"""What tracing and lowering a step give, kept between runs of the commands.

Python takes seconds to trace the programs of a model, as long as training takes for a first picture. What it
arrives at (shapes, C, machine code) is kept under all that it depends on, see `trace_key`. What has no such
key, as a model of your own, is traced in every run.
"""

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
Made = TypeVar("Made")
_COMPILING = threading.Lock()


class Traces(NamedTuple):
    """What is kept of one job."""

    key: str | None  # of all that tracing depends on; None: nothing is kept
    devices: tuple[jax.Device, ...]

    def kept(self, what: str, of: Any, make: Callable[[], Made]) -> Made:
        """What was made before under a name for arrays of these shapes, or what `make` makes.

        of: a tree of arrays or their shapes, and of numbers and words. What `make` raises is not kept.
        """
        found = self._recalled(what, of, pickle.loads)
        if found is None:
            found = make()
            self._keep(what, of, found)
        return found

    def program(self, what: str, program: Any, *arguments: Any) -> Callable[[], Callable]:
        """How to compile a program of XLA, made by `jax.jit`, for arguments of these shapes.

        It is traced at once, and only if there is no machine code: threads that compile have none of the
        settings under which this one traces.
        """
        found = self._recalled(what, arguments, self._loaded)
        if found is not None:
            return lambda: found
        lowered = program.lower(*arguments)

        def compile():
            with _without_jax_cache():
                done = lowered.compile()
            with contextlib.suppress(ValueError, NotImplementedError):  # programs that have no such form
                self._keep(what, arguments, serialize_executable.serialize(done))
            return done

        return lowered.compile if self.key is None else compile

    def _loaded(self, content: bytes) -> Callable:
        client = self.devices[0].client
        program, inputs, outputs = pickle.loads(content)
        return serialize_executable.deserialize_and_load(
            program, inputs, outputs, backend=client, execution_devices=self.devices
        )

    def _recalled(self, what: str, of: Any, load: Callable[[bytes], Any]) -> Any:
        content = None if self.key is None else kept.recall(KIND, self._key_of(what, of))
        try:
            return None if content is None else load(content)
        except Exception:  # whatever a file of a library that was changed under its version number raises
            return None

    def _keep(self, what: str, of: Any, made: Any) -> None:
        if self.key is not None:
            with contextlib.suppress(pickle.PicklingError, TypeError, AttributeError):
                kept.keep(KIND, self._key_of(what, of), pickle.dumps(made))

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
