"""Every Python block of the README runs as it stands, and every command in it is a command."""

import re
from pathlib import Path

import pytest

from dysonjax.cli import COMMANDS

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("index", range(README.count("```python")))
def test_python_block_runs(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", README, re.S)[index]
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("part", ["Model(", "wrap_flax("])
def test_a_model_of_ones_own_takes_less_than_thirty_lines(part):
    code = next(code for code in re.findall(r"```python\n(.*?)```", README, re.S) if part in code)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) < 30, len(lines)


def test_every_command_in_the_readme_exists():
    named = set(re.findall(r"^dysonjax ([a-z-]+)", README, re.M))
    assert named and named <= set(COMMANDS)
