"""The documentation builds without a warning and asks nothing of any network."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings_handlers.python")


def test_pages_build_strictly_and_load_nothing_from_elsewhere(tmp_path):
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*?src=\"?([^\"\s>]+)", page.read_text())
        loaded += re.findall(r"<link[^>]*?rel=\"?stylesheet\"?[^>]*?href=\"?([^\"\s>]+)", page.read_text())
        assert not [address for address in loaded if address.startswith(("http:", "https:", "//"))], page
    # Also functions that bear the name of their module, which a listing of the package passes over.
    for package in ("dyson", "spectra"):
        page = (tmp_path / "site" / "reference" / f"{package}.html").read_text()
        written = {name.rsplit(".", 1)[-1] for name in re.findall(r"id=\"?(dysonjax[\w.]+)", page)}
        assert set(importlib.import_module(f"dysonjax.{package}").__all__) <= written
    reference = (tmp_path / "site" / "reference" / "ensemble.html").read_text()
    assert "trajectory depends on" in reference  # docstrings have arrived
