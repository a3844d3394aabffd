"""NVIDIA's compiler as a library, by ctypes: CUDA C to machine code, without a GPU, a driver or a toolkit.

The package nvidia-cuda-nvrtc brings it, and with it the extras `cuda` (through JAX) and `test`.
"""

import ctypes
import functools
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from dysonjax.compile import kept

NAMES = ("libnvrtc.so.13", "libnvrtc.so.12")
MISSING = "NVIDIA's compiler NVRTC is missing (install the extra: pip install 'dysonjax[cuda]')"
# Division and roots as XLA has them on GPUs, small numbers as it has them on CPUs.
OPTIONS = ("--prec-div=false", "--prec-sqrt=false", "--ftz=true", "--disable-warnings", "--std=c++17")


class NvrtcError(RuntimeError):
    """NVRTC is missing, or a text does not compile."""


def refuses() -> str | None:
    """Why nothing can be compiled here, or None."""
    return None if library() is not None else MISSING


@functools.cache
def library() -> ctypes.CDLL | None:
    """The newest one that can be loaded: of the Python packages first, then of the system."""
    for name in (*(str(path) for path in _packaged()), *NAMES):
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        found.nvrtcGetErrorString.restype = ctypes.c_char_p
        return found
    return None


def version() -> tuple[int, int]:
    """Of NVRTC; raises NvrtcError if there is none."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _ok(_library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return major.value, minor.value


def architectures() -> list[int]:
    """Those that it compiles for, as 90 for compute capability 9.0."""
    count = ctypes.c_int()
    _ok(_library().nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    found = (ctypes.c_int * count.value)()
    _ok(_library().nvrtcGetSupportedArchs(found))
    return list(found)


def compile(text: str, architecture: int, headers: Mapping[str, str], options: Sequence[str] = ()) -> bytes:
    """The cubin of a text for an architecture, as 90; from the user's cache if it is there.

    headers: what the text includes, by name. Raises NvrtcError with the compiler's first complaint.
    """
    options = (f"--gpu-architecture=sm_{architecture}", *OPTIONS, *options)
    marks = (text, *(part for item in sorted(headers.items()) for part in item), *options)
    key = kept.key(*marks, "{}.{}".format(*version()))
    return kept.made("cubin", key, lambda: _compiled(text, headers, options))


def _compiled(text: str, headers: Mapping[str, str], options: Sequence[str]) -> bytes:
    nvrtc, program = _library(), ctypes.c_void_p()
    names, texts = _strings(headers.keys()), _strings(headers.values())
    made = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), text.encode(), b"step.cu", len(headers), texts, names
    )
    _ok(made)
    try:
        failed = nvrtc.nvrtcCompileProgram(program, len(options), _strings(options))
        if failed:
            raise NvrtcError(f"NVRTC failed: {_complaint(nvrtc, program, failed)}")
        size = ctypes.c_size_t()
        _ok(nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)))
        content = ctypes.create_string_buffer(size.value)
        _ok(nvrtc.nvrtcGetCUBIN(program, content))
        return content.raw
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _complaint(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, code: int) -> str:
    """The first error of a program's log, or what the code means."""
    size = ctypes.c_size_t()
    if nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)) == 0:
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        lines = log.value.decode(errors="replace").splitlines()
        found = next((line.strip() for line in lines if "error" in line), "")
        if found:
            return found
    return nvrtc.nvrtcGetErrorString(code).decode()


def _packaged() -> list[Path]:
    """Where Python packages have the library: nvidia/cu13/lib, or nvidia/cuda_nvrtc/lib of older ones."""
    spec = importlib.util.find_spec("nvidia")
    places = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
    folders = [folder for place in places for folder in (place / "cu13/lib", place / "cuda_nvrtc/lib")]
    return [path for name in NAMES for folder in folders if (path := folder / name).is_file()]


def _library() -> ctypes.CDLL:
    found = library()
    if found is None:
        raise NvrtcError(MISSING)
    return found


def _ok(code: int) -> None:
    if code:
        raise NvrtcError(f"NVRTC failed: {_library().nvrtcGetErrorString(code).decode()}")


def _strings(values) -> ctypes.Array:
    values = [value.encode() for value in values]
    return (ctypes.c_char_p * len(values))(*values)
