"""Standard output and error as they are: of any encoding, full, or with a reader that has gone away."""

import contextlib
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator

NO_WORD = r"[^\s/]{256,}|\S{4096,}"  # longer than the name of a file, or than a path, can be
READER_GONE = 141  # as a shell reports a process that SIGPIPE ended


def prepare() -> None:
    """Let no character stop a command: what an encoding lacks is printed as a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors="replace")


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Show a warning of the library as a line, without the place in the code."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {' '.join(str(message).split())}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def finish(code: int) -> int:
    """Bring out what is still to be printed; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError) as error:
            code = code or failed(error)
            _let_go(stream)
    return code


def failed(error: Exception) -> int:
    """Say why nothing can be printed, unless nobody is there to read it; the exit code."""
    if isinstance(error, BrokenPipeError):
        return READER_GONE
    number = getattr(error, "errno", None)
    say(f"standard output cannot be written: {os.strerror(number) if number else error}")
    return 1


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end the process at once while a module is imported: libraries crash if that is torn.

    Elsewhere it is a KeyboardInterrupt as usual.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number, frame) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"dysonjax: interrupted\n")  # not through a stream that may be redirected, or in use
            os._exit(128 + number)
        frame = frame.f_back
    raise KeyboardInterrupt


def say(sentence: str) -> None:
    """A line on standard error, if there is one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        plain = "".join(c if c.isprintable() else " " for c in sentence)  # a sentence is a line
        plain = re.sub(NO_WORD, lambda found: f"{found[0][:40]}...{found[0][-20:]}", plain)
        print(f"dysonjax: {plain}", file=sys.stderr, flush=True)


def _let_go(stream) -> None:
    """Send what is left nowhere: Python would try again as it ends, and complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
