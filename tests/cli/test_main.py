import os
import subprocess
import sys

import jax
import pytest

import dysonjax
from dysonjax.checks import InputError
from dysonjax.cli import main
from dysonjax.cli.common import parse_integers, parse_values


def test_overview_and_version(capsys):
    assert main([]) == 0
    assert main(["--version"]) == 0
    assert "dysonjax" in capsys.readouterr().out


def test_version_names_the_libraries(capsys):
    assert main(["--version"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"dysonjax {dysonjax.__version__}\n") and f"jax {jax.__version__}," in text


def test_help_does_not_wait_for_jax():
    """What makes `dysonjax --help` quick; the time itself depends on the machine."""
    program = "import sys; from dysonjax.cli import main; main(['--help']); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60).returncode == 0


def test_unknown_command_is_one_sentence(capsys):
    assert main(["nonsense"]) == 2
    assert capsys.readouterr().err.startswith("dysonjax: unknown command 'nonsense'")


def test_ranges():
    assert parse_values("lr", "0.125:256:x2") == [2.0**k for k in range(-3, 9)]
    assert parse_values("lr", "0.01:0.1:10") == pytest.approx([0.01 * k for k in range(1, 11)])
    assert parse_values("lr", "0.5,1:4:x2") == [0.5, 1, 2, 4]
    assert parse_integers("batch_size", "4:64:x4") == [4, 16, 64]


@pytest.mark.parametrize(
    "text",
    ["", "a", "1:2", "1:2:3:4", "2:1:x2", "1:2:x1", "1:2:x", "-1", "0", "nan", "inf", "1:inf:x2", "1,,2",
     "1:2:0", "1:2:1", "1:2:2.5", "0:1:3"],
)  # fmt: skip
def test_malformed_ranges_are_refused(text):
    with pytest.raises(InputError, match="lr"):
        parse_values("lr", text)


def test_fractional_batch_size_is_refused():
    with pytest.raises(InputError, match=r"batch_size must hold positive integers, got 2\.5"):
        parse_integers("batch_size", "2.5")


@pytest.mark.parametrize("columns", ["20", "80", "500"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("linear --steps many", "--steps must be of the form INT (see dysonjax linear --help)"),
        ("dyson --levels 1.5", "--levels"),
        ("linear --nothing", "linear has no option --nothing"),
    ],
)
def test_a_wrong_option_is_one_plain_sentence_on_every_terminal(
    words, sentence, columns, monkeypatch, capsys
):
    """With colours and in a narrow window too."""
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and "\x1b" not in error and "{None}" not in error
    assert not set("│╭╮╰╯─") & set(error)
    assert os.environ["COLUMNS"] == columns
