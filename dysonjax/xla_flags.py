"""`XLA_FLAGS`, which XLA reads as it starts; a wrong one ends the process, and is found here before."""

import functools
import os
import re
import sys
import warnings

from dysonjax.checks import InputError


def check() -> None:
    """Raise InputError for flags with which XLA would end the process; call it before JAX is used.

    XLA reads its flags once and has no function that only looks at them. A child that does nothing else reads
    them here; it takes some ten milliseconds, and only where there are flags.
    """
    flags = os.environ.get("XLA_FLAGS", "").strip()
    bridge = sys.modules.get("jax._src.xla_bridge")
    if flags and hasattr(os, "fork") and not getattr(bridge, "backends_are_initialized", bool)():
        wrong = _complaint(flags)
        if wrong is not None:
            raise InputError(wrong)


@functools.cache
def _complaint(flags: str) -> str | None:
    from jaxlib import xla_client

    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of JAX, about forks; nothing of it has started yet
        child = os.fork()
    if child == 0:
        code = 1
        try:
            for stream in (1, 2):
                os.dup2(write, stream)
            os.close(read)
            xla_client.CompileOptions()  # reads the flags, or ends the process
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as said:
        words = said.read().decode(errors="replace")
    if os.waitpid(child, 0)[1] == 0:
        return None
    known = re.search(r"Unknown flags? in XLA_FLAGS: (.*)", words)
    what = f"this version of XLA does not know {known[1].strip()[:200]}" if known else "XLA cannot read it"
    return f"XLA_FLAGS is {flags[:200]!r}, but {what}; correct or unset it"
