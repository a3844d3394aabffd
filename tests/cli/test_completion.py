"""The completion script as a shell uses it."""

import shutil
import subprocess

import pytest

from dysonjax.cli import COMMANDS, main
from dysonjax.cli.completion import HOW, completion_script


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "dysonjax.bash"
    path.write_text(completion_script("bash"))
    return path


def _complete(script, *words):
    """What bash offers for the last word."""
    quoted = " ".join(f"'{word}'" for word in words)
    program = (
        f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
        '_tyro_dysonjax; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=30, check=True)
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_options_and_choices(bash_script):
    assert set(COMMANDS) <= _complete(bash_script, "dysonjax", "")
    assert _complete(bash_script, "dysonjax", "ph") == {"phase-diagram"}
    assert {"--seeds", "--seed"} <= _complete(bash_script, "dysonjax", "rbm", "--se")
    assert "implicit" in _complete(bash_script, "dysonjax", "dyson", "--method", "")
    assert not _complete(bash_script, "dysonjax", "nonsen")


@pytest.mark.parametrize("shell", list(HOW))
def test_every_script_is_valid_and_says_where_it_belongs(shell, tmp_path):
    script = completion_script(shell)
    assert "phase-diagram" in script and script.splitlines()[-1] == f"# {HOW[shell]}"
    if shutil.which(shell):
        path = tmp_path / "script"
        path.write_text(script)
        assert subprocess.run([shell, "-n", path], timeout=30).returncode == 0


def test_the_command_prints_the_script_alone(capsys):
    assert main(["completion", "fish"]) == 0
    assert capsys.readouterr().out.strip() == completion_script("fish")


def test_an_unknown_shell_is_bad_input(capsys):
    assert main(["completion", "cmd.exe"]) == 2
    assert "shell must be one of bash, zsh, fish" in capsys.readouterr().err
