"""A stand-in for NVIDIA's driver, see `stand_in.c`."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from dysonjax import compile as compiler
from dysonjax.compile import driver


@pytest.fixture(scope="session")
def stand_in_library(tmp_path_factory):
    """The path of the compiled stand-in."""
    cc = compiler.compiler_path()
    if cc is None:
        pytest.skip("there is no C compiler to make the stand-in for a driver with")
    path = tmp_path_factory.mktemp("driver") / "libcuda.so"
    source = Path(__file__).with_name("stand_in.c")
    subprocess.run([cc, "-O1", "-shared", "-fPIC", source, "-o", path, "-ldl"], check=True)
    return path


@pytest.fixture
def stand_in(stand_in_library, monkeypatch, tmp_path):
    """A driver whose kernels are C; every test has its own copy, which counts its own calls.

    The value lists the calls so far, by name.
    """
    own = shutil.copy(stand_in_library, tmp_path / "libcuda.so")
    log = tmp_path / "calls"
    monkeypatch.setenv(driver.VARIABLE, str(own))
    monkeypatch.setenv("STAND_IN_LOG", str(log))
    assert ctypes.CDLL(str(own)).dysonjax_stand_in

    def calls(*names):
        found = [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []
        return [name for name in found if not names or name in names]

    return calls
