"""A child that a fork makes of a process that has used JAX: it has JAX's objects, and none of its threads."""

import atexit
import ctypes
import os
import sys

from dysonjax.checks import RunError


def not_forked() -> None:
    """Raise RunError in a child of a process that had used JAX: it would wait for ever for JAX's threads."""
    if _threads_are_gone:
        raise RunError(
            "this process was forked from one that had used JAX, whose threads a fork leaves behind; start "
            'it anew, for example with multiprocessing.get_context("spawn"), or fork before JAX is used'
        )


def _after_fork() -> None:
    """In a child of a fork: note whether JAX was in use."""
    global _threads_are_gone
    bridge = sys.modules.get("jax._src.xla_bridge")
    _threads_are_gone |= getattr(bridge, "backends_are_initialized", bool)()
    if _threads_are_gone:
        atexit.register(_keep)  # what is registered last comes first


def _keep() -> None:
    """Let no object of JAX's libraries be destroyed as this process ends.

    Theirs would wait for threads that are not there, for ever or until the process crashes. They hang on
    JAX's modules, or on a dictionary there.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith(("jax.", "jaxlib.")):
            for value in list(vars(module).values()):
                for thing in (value, *(value.values() if isinstance(value, dict) else ())):
                    if type(thing).__module__.startswith("jaxlib"):
                        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


_threads_are_gone = False
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
