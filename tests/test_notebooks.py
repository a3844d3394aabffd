"""Every notebook runs from top to bottom in its quick form, and is stored without outputs."""

import contextlib
import io
import json
from pathlib import Path

import matplotlib
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def _cells(path, kind):
    cells = json.loads(path.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


LONG = "05_nanogpt_spectra"  # its calls are those of a quick figure and of the tests of the model


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=pytest.mark.slow if p.stem == LONG else ()) for p in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    """In this process, not in a kernel of its own: that saves importing and compiling anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DYSONJAX_QUICK", "1")
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    names = {"__name__": "notebook"}
    with contextlib.redirect_stdout(io.StringIO()):
        for number, code in enumerate(_cells(path, "code")):
            exec(compile(code, f"{path.name}[{number}]", "exec"), names)
    plt.close("all")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs_and_ends_with_something_to_change(path):
    cells = json.loads(path.read_text())["cells"]
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells)
    assert "## Change something" in _cells(path, "markdown")[-1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_imports_what_makes_jupyter_show_its_figures(path):
    """The figures of the library are made without pyplot; until it is imported Jupyter prints their names."""
    assert "import matplotlib.pyplot" in "\n".join(_cells(path, "code"))


def test_there_is_a_notebook_for_every_part_of_the_story():
    numbers = [path.stem[:2] for path in NOTEBOOKS]
    assert numbers == sorted(set(numbers)) and numbers[0] == "01"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_in_a_kernel_of_its_own(path, tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("DYSONJAX_QUICK", "1")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
