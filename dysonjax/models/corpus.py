"""Texts as sequences of characters: where they come from, their vocabulary, training and validation parts.

A text is a file of the user's, a well-known one that is downloaded once and verified, or the English text
that CPython ships with itself, which is there on any machine. The hash of the bytes goes into the results.
"""

import hashlib
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dysonjax import checks

PYTHON_TOPICS = "python-topics"
TINY_SHAKESPEARE = "tinyshakespeare"
TINY_SHAKESPEARE_URL = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
TINY_SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
LINE_ENDS = ("plain", "kept")
RARE = "\ufffd"  # stands for all characters that a limited vocabulary leaves out
VALIDATION = 0.1  # the last tenth of the text, as in [A]'s reference implementation


class Corpus(NamedTuple):
    """A text, character by character as indices into its vocabulary."""

    name: str
    sha256: str  # of the bytes as read
    vocabulary: str  # distinct characters in the order of their code points
    train: np.ndarray  # (characters,), unsigned integers below len(vocabulary)
    validation: np.ndarray  # (characters,)

    def decode(self, tokens) -> str:
        """The text that indices into the vocabulary stand for."""
        return "".join(self.vocabulary[int(token)] for token in tokens)


# how a file starts: what it is, and what to do
PACKED = {
    b"\x1f\x8b": ("compressed by gzip", "unpack it first, for example with gunzip"),
    b"BZh": ("compressed by bzip2", "unpack it first, for example with bunzip2"),
    b"\xfd7zXZ": ("compressed by xz", "unpack it first, for example with unxz"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it first, for example with unzstd"),
    b"PK\3\4": ("a zip archive", "unpack it first"),
    b"%PDF": ("a PDF document", "give its text, for example by pdftotext"),
    b"\xff\xfe": ("in UTF-16", "convert it to UTF-8, for example with iconv -f UTF-16 -t UTF-8"),
    b"\xfe\xff": ("in UTF-16", "convert it to UTF-8, for example with iconv -f UTF-16 -t UTF-8"),
}


def load(
    text: str | Path = PYTHON_TOPICS,
    vocabulary: int | None = None,
    validation: float = VALIDATION,
    line_ends: str = "plain",
) -> Corpus:
    """A corpus by name (`python-topics`, `tinyshakespeare`) or from any UTF-8 file.

    vocabulary: the largest number of distinct characters; the rarest beyond it all become one replacement
    character (None: keep every character). line_ends: "plain" reads those of Windows as plain ones, with a
    warning; "kept" makes the carriage return a character. validation: fraction at the end of the text that is
    not trained on. Raises InputError if the text is missing, empty, binary, not UTF-8 or of a single
    character, or if it cannot be downloaded.
    """
    raw = _read(text)
    name = str(text) if text in (PYTHON_TOPICS, TINY_SHAKESPEARE) else Path(text).name
    if not raw.strip():
        raise checks.InputError(f"the text {name} is empty; give a file with characters to learn from")
    for start, (kind, remedy) in PACKED.items():
        if raw.startswith(start):
            raise checks.InputError(f"the text {name} is {kind}; {remedy}")
    if b"\0" in raw:
        raise checks.InputError(f"the text {name} is a binary file (it holds zero bytes), not UTF-8 text")
    try:
        characters = raw.decode("utf-8-sig")  # a byte order mark is no part of the text
    except UnicodeDecodeError as error:
        raise checks.InputError(
            f"the text {name} is not UTF-8 (byte {error.start} cannot be decoded); convert it to UTF-8"
        ) from None
    checks.one_of("line_ends", line_ends, LINE_ENDS)
    if line_ends == "plain" and "\r\n" in characters:
        warnings.warn(
            f"{name} has the line ends of Windows, which are read as plain ones (line_ends: kept keeps them)",
            stacklevel=2,
        )
        characters = characters.replace("\r\n", "\n")
    characters, kept = _limit(characters, vocabulary)
    if len(kept) < 2:
        raise checks.InputError(f"the text {name} must hold at least two different characters")
    if not 0 < checks.finite("validation", validation) < 1:
        raise checks.InputError(f"validation must lie between 0 and 1, got {validation}")
    codes = np.frombuffer(characters.encode("utf-32-le"), np.uint32)
    tokens = np.searchsorted(np.array([ord(c) for c in kept], np.uint32), codes)
    tokens = tokens.astype(np.uint8 if len(kept) <= 256 else np.int32)
    train = len(tokens) - int(validation * len(tokens))
    return Corpus(name, hashlib.sha256(raw).hexdigest(), kept, tokens[:train], tokens[train:])


def _read(text: str | Path) -> bytes:
    if text == PYTHON_TOPICS:
        return _python_topics()
    path = _tiny_shakespeare() if text == TINY_SHAKESPEARE else checks.path("text", text)
    try:
        return path.read_bytes()
    except OSError as error:
        raise checks.InputError(
            f"the text {text} cannot be read ({error.strerror}); give a UTF-8 file, {TINY_SHAKESPEARE} or "
            f"{PYTHON_TOPICS}"
        ) from None


def _python_topics() -> bytes:
    """The help texts of the Python language, about 0.5 MB of English; they differ between Python versions."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise checks.InputError(
            f"this Python comes without its help texts; give a UTF-8 file or {TINY_SHAKESPEARE}"
        ) from None
    return "\n\n".join(topics[name] for name in sorted(topics)).encode()


def _tiny_shakespeare() -> Path:
    """The verified file in the user's cache, downloaded when it is not there yet."""
    import pooch

    try:
        return Path(
            pooch.retrieve(
                TINY_SHAKESPEARE_URL,
                f"sha256:{TINY_SHAKESPEARE_SHA256}",
                fname="tinyshakespeare.txt",
                path=pooch.os_cache("dysonjax"),
            )
        )
    except Exception as error:  # pooch lets through whatever the network raises, and its own hash mismatch
        raise checks.InputError(
            f"{TINY_SHAKESPEARE} could not be downloaded and verified ({type(error).__name__}); without a "
            f"network give a file of your own, or {PYTHON_TOPICS}, which needs none"
        ) from None


def _limit(characters: str, vocabulary: int | None) -> tuple[str, str]:
    """The text with rare characters replaced, and the characters that are left, in order."""
    count = Counter(characters)
    if vocabulary is not None and checks.positive_int("vocabulary", vocabulary, 2) < len(count):
        # Ties are broken by code point, so that the vocabulary depends on the text alone.
        frequent = sorted(count, key=lambda c: (-count[c], c))[: vocabulary - 1]
        rare = {ord(c): RARE for c in count if c not in frequent}
        return characters.translate(rare), "".join(sorted({RARE, *frequent}))
    return characters, "".join(sorted(count))
