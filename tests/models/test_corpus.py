import hashlib
import json

import numpy as np
import pytest

import dysonjax as dj
from dysonjax.checks import InputError
from dysonjax.ensemble import schema
from dysonjax.models import corpus


def test_a_file_is_split_and_decodes_to_itself(tmp_path):
    text = "naïve café \u2014 日本語\n" * 40
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    found = corpus.load(tmp_path / "t.txt")
    assert found.decode(np.concatenate([found.train, found.validation])) == text
    assert len(found.validation) == len(text) // 10
    assert found.vocabulary == "".join(sorted(set(text)))
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_rare_characters_share_one_place_in_a_limited_vocabulary(tmp_path):
    (tmp_path / "t.txt").write_text("aaaa bbbb cc d e" * 10)
    found = corpus.load(tmp_path / "t.txt", vocabulary=4)
    assert found.vocabulary == " ab" + corpus.RARE
    text = found.decode(np.concatenate([found.train, found.validation]))
    assert text == ("aaaa bbbb cc d e" * 10).translate({ord(c): corpus.RARE for c in "cde"})


def test_a_vocabulary_beyond_256_characters_keeps_its_indices(tmp_path):
    text = "".join(chr(0x4E00 + i) for i in range(400)) * 3
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    found = corpus.load(tmp_path / "t.txt")
    assert len(found.vocabulary) == 400 and found.decode(found.train) == text[: len(found.train)]


def test_the_text_that_python_ships_is_english_and_needs_no_network():
    found = corpus.load()
    assert found.name == corpus.PYTHON_TOPICS and len(found.train) > 200_000
    assert "expression" in found.decode(found.train[:20_000])
    assert len(found.sha256) == 64 and found.sha256 == corpus.load().sha256


def test_a_byte_order_mark_is_no_character(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbfab" + b"ab" * 30)
    assert corpus.load(tmp_path / "t.txt").vocabulary == "ab"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b" \n\n ", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
        ("größer".encode("latin-1") * 9, "not UTF-8 .byte 2"),
        (b"aaaaaaaaaaaaaaaa", "two different characters"),
    ],
)
def test_files_that_are_no_text_are_refused_with_one_sentence(tmp_path, content, sentence):
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        corpus.load(tmp_path / "t.txt")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        corpus.load(tmp_path / "none.txt")
    with pytest.raises(InputError, match="cannot be read"):
        corpus.load(tmp_path)


def test_tiny_shakespeare_is_taken_from_the_cache_only_with_the_right_hash(tmp_path, monkeypatch):
    """Without a network: neither a missing nor a wrong file in the cache is used."""
    pooch = pytest.importorskip("pooch")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path)
    monkeypatch.setattr(corpus, "TINY_SHAKESPEARE_URL", "http://127.0.0.1:9/input.txt")
    for content in (None, b"To be, or not to be"):
        if content is not None:
            (tmp_path / "tinyshakespeare.txt").write_bytes(content)
        with pytest.raises(InputError, match="could not be downloaded and verified"):
            corpus.load(corpus.TINY_SHAKESPEARE)
    right = b"All the world's a stage"
    (tmp_path / "tinyshakespeare.txt").write_bytes(right)
    monkeypatch.setattr(corpus, "TINY_SHAKESPEARE_SHA256", hashlib.sha256(right).hexdigest())
    assert corpus.load(corpus.TINY_SHAKESPEARE).sha256 == hashlib.sha256(right).hexdigest()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x1f\x8b\x08\x00" + bytes(20), "compressed by gzip; unpack it"),
        ("to be or not".encode("utf-16"), "in UTF-16; convert it to UTF-8"),
        ("to be or not".encode("utf-16-be"), "binary file"),
        (b"PK\3\4" + bytes(20), "a zip archive"),
        (b"%PDF-1.7 text", "a PDF document"),
    ],
)
def test_a_file_of_another_kind_is_named_with_its_remedy(content, sentence, tmp_path):
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        corpus.load(tmp_path / "text")


def test_line_ends_of_windows_are_no_characters(tmp_path):
    (tmp_path / "unix").write_bytes(b"to be\nor not\n" * 20)
    (tmp_path / "windows").write_bytes(b"to be\r\nor not\r\n" * 20)
    with pytest.warns(UserWarning, match="windows has the line ends of Windows"):
        windows = corpus.load(tmp_path / "windows")
    unix = corpus.load(tmp_path / "unix")
    assert windows.vocabulary == unix.vocabulary and (windows.train == unix.train).all()
    kept = corpus.load(tmp_path / "windows", line_ends="kept")
    assert "\r" in kept.vocabulary and len(kept.vocabulary) == len(unix.vocabulary) + 1
    with pytest.raises(InputError, match="line_ends must be one of plain, kept"):
        corpus.load(tmp_path / "unix", line_ends="crlf")


def test_another_content_of_the_same_text_is_told_when_a_run_is_resumed(tmp_path):
    stored = []
    for content in (b"to be\nor not\n" * 20, b"to be\nor not?\n" * 20):
        (tmp_path / "text").write_bytes(content)
        model = dj.models.nanogpt(tmp_path / "text", width=4, heads=1, layers=1, context=4)
        stored.append(json.dumps({"model": {"name": model.name, **model.config}}))
    assert schema.difference(*stored) == (
        "another content of the text text, which has changed since; restore it"
    )
    assert "changed" not in schema.difference(stored[0], stored[0].replace('"width": 4', '"width": 8'))
