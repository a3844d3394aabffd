"""The help of a command: its options in groups, the physics first."""

import argparse
import re
import shutil
import textwrap
import warnings

import tyro

# Options of every command by what they are about; all others are the physics of the command.
GROUPS = {
    "optimizer": "optimizer momentum weight-decay schedule warmup",
    "run": "preset seeds steps pilot-steps records keep-weights keep save-every dry-run resume shard seed "
    "quick paper run members repetitions permutations samples resamples nulls",
    "machine": "port every tile devices backend x64 precision jobs distributed coordinator num-processes "
    "process-id join-seconds clear-cache",
    "results": "list out author title license overwrite bare dpi json quiet csv figures sort figure only",
}
FIRST = "physics"
GRID = ("lr", "batch-size", "sigma-w")  # before the rest of the physics
EVERYWHERE = [
    ("--config FILE", "Read options from a TOML file; options on the command line override them."),
    ("--print-config", "Print all options as such a file and stop."),
    ("-v, --verbose", "Say what compiled the steps and why nothing faster did; tracebacks of errors."),
    ("-h, --help", "Show this text."),
]
# What to type where any text is taken, by option; elsewhere it is TEXT.
WORDS = {
    **dict.fromkeys(GRID, "RANGE"),
    **dict.fromkeys("epsilon s z-ratio".split(), "RANGE"),
    **dict.fromkeys("widths values profile blocks kappa omega center g2 keep members".split(), "LIST"),
    "records": "N|LIST",
    "tile": "N|tune",
    "devices": "N|KIND",
    "shard": "I/N",
    "coordinator": "HOST:PORT",
    "sort": "COLUMN",
    "z": "NAME|FILE",
    "text": "NAME|FILE",
    "author": "AUTHOR ...",
}
WIDEST = 100


def page(command, name: str, summary: str = "") -> str:
    """The help text of a command (its dataclass), called `name`.

    Options of which a command knows more than the dataclass that it shares with others have their text in its
    `texts`.
    """
    arguments, options = _options(command)
    width = min(shutil.get_terminal_size().columns, WIDEST)
    usage = " ".join(["usage: dysonjax", name, *(word for word, _ in arguments), "[options]"])
    text = [usage, *_paragraphs(command.__doc__ or summary, width)]
    if arguments:
        lines = [line for words, about in arguments for line in _entry(words, about, width)]
        text += ["", "arguments:", *lines]
    options.sort(key=lambda option: option[0] not in GRID)
    for group in (FIRST, *GROUPS, "always"):
        entries = [(words, about) for key, words, about in options if _group(key) == group]
        if group == "always":
            entries = EVERYWHERE
        if entries:
            lines = [line for words, about in entries for line in _entry(words, about, width)]
            text += ["", f"{group}:", *lines]
    return "\n".join(text)


def _options(command) -> tuple[list, list]:
    """Positional arguments as (word, text); options as (key, words, text)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(command, config=(tyro.conf.FlagCreatePairsOff,))
    arguments, options = [], []
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:
            continue
        key = action.dest.rsplit(".", 1)[-1].replace("_", "-")
        text = " ".join(str(action.help).split())
        if not action.option_strings:
            arguments.append(_argument(action, key, text))
        elif not {"-h", "--help"} & set(action.option_strings):
            options.append((key, *_option(command, action, key, text)))
    return arguments, options


def _argument(action, key: str, text: str) -> tuple[str, str]:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    word = metavar if metavar.startswith("{") else key.upper()
    word += " ..." if action.nargs in ("*", "+") else ""
    optional = key == "name" or re.search(r"\(default: (?!''\)|\)|None\))", text)  # of bench and figure
    text = re.sub(r" ?\((required|default: (''|None|))\)$", "", text)
    return (f"[{word}]" if optional else word), text if optional else f"{text} (required)"


def _option(command, action, key: str, text: str) -> tuple[str, str]:
    """The words of an option and its text: without None, which nobody types, with where a default is from."""
    name = "-q, --quiet" if key == "quiet" else action.option_strings[0]
    text = getattr(command, "texts", {}).get(key, text.partition(" (default: ")[0]) + _default(text)
    if action.nargs == 0:
        off = "(default: True)" in text
        return (f"--no-{key}" if off else name), re.sub(r" ?\(default: (True|False)\)$", "", text)
    metavar = action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar or ())
    metavar = metavar.removeprefix("{None}|").removeprefix("{None,")
    if metavar.split(" ")[0] in ("STR", "[STR"):
        metavar = WORDS.get(key, "TEXT")
    metavar = "{" + metavar if metavar.endswith("}") and not metavar.startswith("{") else metavar
    from_preset = key.replace("-", "_") in getattr(command, "from_preset", ())
    default = " (default: from --preset)" if from_preset else ""
    return f"{name} {metavar}", re.sub(r" ?\(default: (None)?\)$", default, text)


def _default(text: str) -> str:
    """The default at the end of a help text, a number with no more than six digits."""
    found = re.search(r" \(default: (.*)\)$", text)
    if not found:
        return ""
    long = re.fullmatch(r"-?\d+\.\d{7,}", found[1])
    return f" (default: {float(found[1]):.6g})" if long else found[0]


def _group(key: str) -> str:
    return next((group for group, keys in GROUPS.items() if key in keys.split()), FIRST)


def _paragraphs(text: str, width: int) -> list[str]:
    lines = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines += ["", *textwrap.wrap(" ".join(paragraph.split()), width)]
    return lines


def _entry(words: str, text: str, width: int, column: int = 26) -> list[str]:
    room = max(width - column, 24)
    wrapped = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    if len(words) + 4 > column:
        return [f"  {words}", *(" " * column + line for line in wrapped)]
    first, *rest = wrapped or [""]
    return [f"  {words:<{column - 2}}{first}", *(" " * column + line for line in rest)]
