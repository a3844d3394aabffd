"""The command line: options in, one library call, files and a summary out. No physics here.

A command is a frozen dataclass in a file of its own. Its fields are the options (their docstrings are the
help texts), its docstring explains it, and `run(terminal)` does the work and returns the JSON summary.
"""

import contextlib
import dataclasses
import errno
import gc
import importlib
import io
import json
import os
import re
import signal
import sys

# What takes longer to import waits until an interruption is answered with a sentence.
from dysonjax.cli import streams

# name: (class, one line for the list of commands); modules load only when their command runs.
COMMANDS: dict[str, tuple[str, str]] = {
    "phase-diagram": (
        "dysonjax.cli.phase_diagram:PhaseDiagram",
        "train a teacher-student grid and draw its phase diagram",
    ),
    "dyson": ("dysonjax.cli.dyson:Dyson", "integrate Dyson Brownian motion, compare with its stationary law"),
    "spectrum": ("dysonjax.cli.spectrum:Spectrum", "analyse the weight matrices of a checkpoint"),
    "rbm": ("dysonjax.cli.rbm:Rbm", "train Gaussian RBMs and compare their levels with theory"),
    "linear": ("dysonjax.cli.linear:Linear", "train linear networks and compare their levels with theory"),
    "spikes": (
        "dysonjax.cli.spikes:Spikes",
        "follow spikes that leave the bulk of noise as a network learns",
    ),
    "nanogpt": (
        "dysonjax.cli.nanogpt:NanoGpt",
        "train small transformers and watch the spectra of their attention",
    ),
    "compare": ("dysonjax.cli.compare:Compare", "compare SGD with its approximations, down to closed forms"),
    "figure": ("dysonjax.cli.figure:Figure", "reproduce one published figure"),
    "advise": ("dysonjax.cli.advise:Advise", "predict from short runs where training will converge"),
    "resume": ("dysonjax.cli.resume:Resume", "go on with an interrupted run"),
    "merge": ("dysonjax.cli.merge:Merge", "join runs that trained different seeds of one grid"),
    "info": ("dysonjax.cli.info:Info", "say what a run folder holds"),
    "report": ("dysonjax.cli.report:Report", "write one HTML file to explore a run"),
    "watch": ("dysonjax.cli.watch:Watch", "show a run in the browser while it trains"),
    "export": ("dysonjax.cli.export:Export", "write a run for publication: tables, metadata, citation"),
    "verify": ("dysonjax.cli.verify:Verify", "train some members of a run again and compare"),
    "bench": ("dysonjax.cli.bench:Bench", "measure the throughput of this machine beside the baselines"),
    "doctor": ("dysonjax.cli.doctor:Doctor", "check this installation and machine against exact laws"),
    "completion": ("dysonjax.cli.completion:Completion", "print the completion script of a shell"),
}


# The same in the overview, by what they are for.
PURPOSES = {
    "train networks": "phase-diagram rbm linear spikes nanogpt advise",
    "a run": "info watch report resume merge verify export",
    "theory and weights": "figure compare dyson spectrum",
    "this machine": "doctor bench completion",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code is 0 done, 1 failed, 2 bad input, 130 or 143 interrupted.

    129 and 141 are runs that were saved because their terminal or the reader of their output went away.
    """
    streams.prepare()
    if argv is None:
        # Imports and tracing make many objects that live long; looking through all of them again and again
        # took a fifth of the time of `info`.
        gc.set_threshold(50_000, 20, 50)
    try:
        kept = _environment_kept("DYSONJAX_DEBUG", "DYSONJAX_TRACES_SINCE")
        with streams.interruptible(), streams.plain_warnings(), kept:
            code = _main(argv)
    except SystemExit as done:  # of a process that is not the first
        code = done.code if isinstance(done.code, int) else int(bool(done.code))
    except KeyboardInterrupt:
        streams.say("interrupted")
        code = 128 + signal.SIGINT
    except OSError as error:
        code = streams.failed(error)
    code = streams.finish(code)
    if "jax" in sys.modules:
        _leave(code, at_once=argv is None and code > 128)
    if argv is None:
        gc.freeze()  # Python, as it ends, would look through all objects once more: 0.3 s of CPU
    return code


@contextlib.contextmanager
def _environment_kept(*names: str):
    """Put variables back when a command has ended: -v is of this command alone."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _leave(code: int, at_once: bool) -> None:
    """End a process here that JAX would not let end well.

    Of a distributed run it would wait for the others, and abort if they are gone; an interrupted process may
    crash in threads that still compile.
    """
    import jax

    if at_once or jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _main(argv: list[str] | None) -> int:
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if args[0] == "--version":
        from dysonjax.cli.versions import report

        print(report())
        return 0
    from dysonjax import xla_flags
    from dysonjax.checks import InputError, RunError, path, seed
    from dysonjax.cli import compile_cache, environment, next_step

    if "matplotlib" not in sys.modules:
        os.environ["MPLBACKEND"] = "agg"  # figures are files: no window system is asked for
    compile_cache.activate()
    try:
        if not {"-h", "--help"} & set(args):
            xla_flags.check()
        command = _parse(args[0], args[1:])
        if command is None:
            return 0
        from dysonjax.cli.output import paths, watching
        from dysonjax.cli.terminal import Terminal

        execution = getattr(command, "execution", command)  # small commands list their options themselves
        if hasattr(execution, "seed"):
            seed("seed", execution.seed)
        for name, given in paths(command):
            path(name, given)
        rank = _join(command)
        terminal = Terminal(quiet=execution.quiet or rank > 0, json=execution.json)
        with watching(command), environment.named():
            summary = command.run(terminal)
    except InputError as error:
        streams.say(str(error))
        return 2
    except KeyboardInterrupt as stop:  # a run that was saved says how to go on, and by which signal it ended
        streams.say(str(stop) or "interrupted")
        return 128 + getattr(stop, "signal", signal.SIGINT)
    except RunError as error:
        streams.say(str(error))
        return 1
    except BrokenPipeError:
        return streams.READER_GONE
    except Exception as error:
        if os.environ.get("DYSONJAX_DEBUG"):
            raise
        sentence = _trouble(error)
        if sentence is None:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            sentence = f"{what} (set DYSONJAX_DEBUG=1 for the traceback)"
        streams.say(sentence)
        return 1
    line = next_step.sentence(args[0], summary)
    if line is not None:
        terminal.print(line)
    if execution.json:
        print(json.dumps(summary), flush=True)
    if terminal.reader_gone:
        return streams.READER_GONE
    # Commands that judge (doctor) say by their exit code how it went.
    return command.exit_code(summary) if hasattr(command, "exit_code") else 0


def _trouble(error: Exception) -> str | None:
    """What the machine lacks, in words; None for an error of another kind."""
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):  # the latter is JAX's word
        return "there is not enough memory; take fewer networks, records, samples or stored weights"
    if isinstance(error, OSError) and error.errno is not None:
        if error.filename is None:  # of a write; what opens a file names it
            return f"the output cannot be written: {os.strerror(error.errno)}"
        remedy = "; make room and start again" if error.errno == errno.ENOSPC else ""
        return f"{error.filename} cannot be read or written: {os.strerror(error.errno)}{remedy}"
    return None


def _join(command) -> int:
    """Join the other processes of a distributed run; the number of this process, 0 if it is alone."""
    options = getattr(getattr(command, "training", command), "processes", None)
    if options is None:
        return 0
    from dysonjax.cli.distributed import join

    return join(options)


def _parse(name: str, args: list[str]):
    """The command's dataclass filled from the options; None after `--help`."""
    import tyro

    from dysonjax.checks import InputError

    if name not in COMMANDS:
        others = f"the commands are {', '.join(COMMANDS)}"
        raise InputError(f"unknown command {name!r}; {_near(name, list(COMMANDS)) or others}")
    module, _, cls = COMMANDS[name][0].partition(":")
    command = getattr(importlib.import_module(module), cls)
    if {"-h", "--help"} & set(args):
        from dysonjax.cli.help import page

        print(page(command, name))
        return None
    from dysonjax.cli import config_file

    args = [{"-q": "--quiet"}.get(word, word) for word in config_file.expanded(name, command, args)]
    if {"-v", "--verbose"} & set(args):
        os.environ["DYSONJAX_DEBUG"] = "1"
    printed = "--print-config" in args
    args = [word for word in args if word not in ("-v", "--verbose", "--print-config")]
    complaint = io.StringIO()
    try:
        with _environment_kept("COLUMNS"), contextlib.redirect_stderr(complaint):
            os.environ["COLUMNS"] = "1000"  # an error must not be broken into the lines of a narrow terminal
            filled = tyro.cli(
                command, args=args, prog=f"dysonjax {name}", config=(tyro.conf.FlagCreatePairsOff,)
            )
        if not printed:
            return filled
        print(config_file.text(name, filled))
        return None
    except SystemExit as stop:
        if stop.code in (0, None):
            return None
        raise InputError(
            f"{_first_sentence(complaint.getvalue(), name, command)} (see dysonjax {name} --help)"
        ) from None


def _near(word: str, words: list[str]) -> str:
    """Which of some words was meant, as the end of a sentence; nothing if none is near."""
    import difflib

    near = difflib.get_close_matches(word, words, 1)
    return f"did you mean {near[0]}?" if near else ""


def _first_sentence(box: str, name: str, command: type) -> str:
    """The message out of the parser's framed error report about a command of this name."""
    from dysonjax.cli import choices, config_file

    # Frames are drawn with ASCII where the terminal has no other characters.
    plain = re.sub("\x1b\\[[0-9;]*[A-Za-z]", "", box)  # colours, where standard error is a terminal
    lines = (line.strip("│╭╮╰╯─|+- \t") for line in plain.splitlines()[1:])
    sentence = next((line for line in lines if line), "the options could not be read")
    optional = re.fullmatch(r"Error parsing (--\S+): no type matching \{None\}\|(\w+) .*", sentence)
    if optional:
        sentence = f"{optional[1]} must be of the form {optional[2]}"
    closed = re.fullmatch(
        r"(?:Error parsing --\S+: )?invalid choice '(.*)' for argument '(?:--)?(\S+)'\. "
        r"Expected one of \((.*?),?\)\.?",
        sentence,
    )
    if closed:
        # The parser lists them in an order that changes from process to process.
        allowed = choices.of_option(command, closed[2].rsplit(".", 1)[-1])
        return f"{closed[2].replace('-', '_')} must be one of {', '.join(allowed)}, got {closed[1]!r}"
    fields = config_file.fields(command)
    if sentence.startswith("Missing from"):
        needed = [key.upper() for key, field in fields.items() if field.default is dataclasses.MISSING]
        return f"{name} needs {' and '.join(needed)}"
    if unknown := re.fullmatch(r"Unrecognized options: ([^,]*).*", sentence):
        word = unknown[1].partition("=")[0]
        if not word.startswith("-"):
            return f"{name} cannot use {word!r}: no option or argument takes it"
        near = _near(word, [f"--{key.replace('_', '-')}" for key in fields])
        return f"{name} has no option {word}" + (f"; {near}" if near else "")
    if missing := re.fullmatch(r"Missing value for argument '(\S+)'.*", sentence):
        return f"{missing[1]} needs a value"
    number = re.fullmatch(
        r"(?:Error parsing )?--(\S+): (invalid literal for int\(\).*|could not convert .* to float): '(.*)'",
        sentence,
    )
    if number:
        kind = "an integer" if "int()" in number[2] else "a number"
        return f"--{number[1]} must be {kind}, got {number[3]!r}"
    return sentence.removeprefix("Error parsing ")


def _overview() -> str:
    width = max(map(len, COMMANDS), default=0)
    rows = "\n\n".join(
        f"{purpose}:\n" + "\n".join(f"  {name:<{width}}  {COMMANDS[name][1]}" for name in names.split())
        for purpose, names in PURPOSES.items()
    )
    return (
        "usage: dysonjax COMMAND [options]\n\n"
        "SGD as Dyson Brownian motion: ensembles of networks and random-matrix statistics.\n\n"
        f"{rows}\n\n"
        "dysonjax COMMAND --help explains every option of a command; dysonjax --version prints versions."
    )
