"""Every Python block of README and documentation runs as it stands, every command in them can be typed."""

import contextlib
import importlib
import io
import re
import shlex
from pathlib import Path

import pytest

from dysonjax.cli import COMMANDS, _parse, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Answered at once, or in seconds by a test of their own; the others train for a while.
QUICK = ("dysonjax --version", "dysonjax --help", "dysonjax completion bash", "dysonjax figure --list")


def _blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


def _commands(page):
    """The dysonjax command lines of a page, without comments; continued lines joined."""
    text = "\n".join(_blocks(page, "sh")).replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [words for words in lines if words and words[0] == "dysonjax"]


COMMAND_LINES = sorted({shlex.join(words) for page in PAGES for words in _commands(page)})
PYTHON_PAGES = [page for page in PAGES if page.name != "README.md" and _blocks(page, "python")]


@pytest.mark.parametrize("index", range(README.count("```python")))
def test_python_block_of_the_readme_runs_by_itself(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = _blocks(ROOT / "README.md", "python")[index]
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


# A gas sampled by Hamiltonian Monte Carlo; four models, as in a block of the README and a notebook.
SLOW_PAGES = ("own-potential", "own-model")


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=pytest.mark.slow if p.stem in SLOW_PAGES else ()) for p in PYTHON_PAGES],
    ids=lambda page: page.stem,
)
def test_python_blocks_of_a_page_run_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for code in _blocks(page, "python"):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_can_be_typed(line, capsys):
    """Its options exist and have the right form; `_parse` raises InputError otherwise."""
    words = shlex.split(line)[1:]
    if line in QUICK:
        assert main(words) == 0
    else:
        assert _parse(words[0], words[1:]) is not None or "--help" in words
        assert words[0] in COMMANDS


LONG = ("nanogpt", "bench")  # an hour, a text from the network, or a machine to itself


@pytest.mark.slow
@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "tutorial.md"], ids=lambda p: p.stem)
def test_commands_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    """As a new user types them, in an empty folder; files that the user has to bring are made first."""
    from safetensors.numpy import save_file

    monkeypatch.chdir(tmp_path)
    import numpy as np

    save_file({"layer.weight": np.random.default_rng(0).standard_normal((64, 32))}, "model.safetensors")
    for words in _commands(page):
        if words[1] not in LONG and "runs/gpt" not in words:
            assert main(words[1:]) == 0, words


@pytest.mark.parametrize("part", ["Model(", "wrap_flax("])
def test_a_model_of_ones_own_takes_less_than_thirty_lines(part):
    code = next(code for code in _blocks(ROOT / "README.md", "python") if part in code)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) < 30, len(lines)


def test_relative_links_lead_somewhere():
    """mkdocs checks those between pages; this one also those of the README and of pictures."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith(("http:", "https:", "mailto:")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES[1:]:
        assert str(page.relative_to(ROOT / "docs")) in navigation, page


@pytest.mark.parametrize(
    ("package", "page"), [("spectra", "spectra"), ("dyson", "dyson"), ("analysis.phase", "analysis")]
)
def test_the_reference_names_everything_public(package, page):
    public = importlib.import_module(f"dysonjax.{package}").__all__
    text = (ROOT / "docs" / "reference" / f"{page}.md").read_text()
    assert re.findall(r"^ {8}- (\w+)$", text, re.M) == public
