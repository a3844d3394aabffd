"""NVIDIA's driver by ctypes: load machine code, launch it, wait, time it.

XLA keeps the memory; what is here uses the same primary context of a device, so that a pointer to an array
of XLA's is one of ours. The library is libcuda; the environment variable `DYSONJAX_LIBCUDA` names another
one, such as the stand-in of the tests, whose memory is the host's and whose machine code is that of C.
"""

import ctypes
import functools
import os
from collections.abc import Sequence
from typing import NamedTuple

VARIABLE = "DYSONJAX_LIBCUDA"
LIBRARY = "libcuda.so.1"
OLDEST = 12000  # the version of the driver's interface that is asked for
# Numbers of CUdevice_attribute and CUfunction_attribute.
MULTIPROCESSORS, CLOCK_KHZ, MAJOR, MINOR, SHARED_BYTES = 16, 13, 75, 76, 97
LOCAL_BYTES, REGISTERS, DYNAMIC_SHARED = 3, 4, 8
NON_BLOCKING = 1
OUT_OF_MEMORY = 2  # of CUresult


class DriverError(RuntimeError):
    """The driver is missing, too old, or refused a call; the message is one sentence without a full stop."""

    def __init__(self, message: str, code: int = 0):
        super().__init__(message)
        self.code = code  # that of the driver, 0 if it was not asked


class Driver(NamedTuple):
    """A loaded driver."""

    library: ctypes.CDLL
    stand_in: bool  # whether it is that of the tests

    def __call__(self, name: str, *arguments) -> None:
        """Raises DriverError if the call fails."""
        code = getattr(self.library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self.library.cuGetErrorString(code, ctypes.byref(text))
            reason = (text.value or b"unknown error").decode(errors="replace")
            raise DriverError(f"the NVIDIA driver refused {name}: {reason} (error {code})", code)


class Device(NamedTuple):
    """A GPU and the context that XLA uses on it."""

    driver: Driver
    ordinal: int
    handle: int
    context: int

    def use(self) -> None:
        """Make it the one that the calls of this thread mean."""
        self.driver("cuCtxSetCurrent", ctypes.c_void_p(self.context))

    def attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self.driver("cuDeviceGetAttribute", ctypes.byref(value), number, self.handle)
        return value.value

    @property
    def architecture(self) -> int:
        """As 90 for compute capability 9.0."""
        return 10 * self.attribute(MAJOR) + self.attribute(MINOR)

    @property
    def name(self) -> str:
        text = ctypes.create_string_buffer(100)
        self.driver("cuDeviceGetName", text, len(text), self.handle)
        return text.value.decode()


class Function(NamedTuple):
    """A kernel on a device, and the stream that it is launched on."""

    device: Device
    module: ctypes.c_void_p
    handle: ctypes.c_void_p
    stream: ctypes.c_void_p
    shared_bytes: int  # dynamic, of a block

    def attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self.device.driver("cuFuncGetAttribute", ctypes.byref(value), number, self.handle)
        return value.value

    def launch(self, blocks: int, threads: int, words: Sequence[int]) -> None:
        """Start it with words of 64 bits (addresses, numbers) as its one argument, a struct; see `wait`."""
        if not blocks:
            return
        self.device.use()
        argument = (ctypes.c_int64 * len(words))(*words)
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
        grid, block = (blocks, 1, 1), (threads, 1, 1)
        self.device.driver(
            "cuLaunchKernel", self.handle, *grid, *block, self.shared_bytes, self.stream, parameters, None
        )

    def wait(self) -> None:
        """Until all that was launched is done; raises DriverError if it failed."""
        self.device.use()
        self.device.driver("cuStreamSynchronize", self.stream)

    def seconds(self, launch) -> float:
        """What `launch()` takes on the device."""
        driver, events = self.device.driver, (ctypes.c_void_p(), ctypes.c_void_p())
        self.device.use()
        for event in events:
            driver("cuEventCreate", ctypes.byref(event), 0)
        driver("cuEventRecord", events[0], self.stream)
        launch()
        driver("cuEventRecord", events[1], self.stream)
        driver("cuEventSynchronize", events[1])
        milliseconds = ctypes.c_float()
        driver("cuEventElapsedTime", ctypes.byref(milliseconds), *events)
        for event in events:
            driver("cuEventDestroy_v2", event)
        return milliseconds.value / 1e3


def refuses() -> str | None:
    """Why no GPU can be used here, or None."""
    try:
        load()
    except DriverError as reason:
        return str(reason)
    return None


def chosen() -> str:
    """The library that the environment names, if so."""
    return os.environ.get(VARIABLE, "").strip()


def load() -> Driver:
    """Raises DriverError if there is no driver, or if it is too old."""
    return _load(chosen() or LIBRARY)


@functools.cache
def _load(path: str) -> Driver:
    try:
        library = ctypes.CDLL(path)
    except OSError:
        raise DriverError(f"there is no NVIDIA GPU: its driver's library {path} cannot be loaded") from None
    driver = Driver(library, hasattr(library, "dysonjax_stand_in"))
    driver("cuInit", 0)
    version = ctypes.c_int()
    driver("cuDriverGetVersion", ctypes.byref(version))
    if version.value < OLDEST:
        raise DriverError(
            f"the NVIDIA driver is too old: it is for CUDA {_dotted(version.value)}, and {_dotted(OLDEST)} "
            "or newer is needed"
        )
    return driver


def device(ordinal: int) -> Device:
    """A GPU by the driver's own number; raises DriverError."""
    driver, handle, context = load(), ctypes.c_int(), ctypes.c_void_p()
    driver("cuDeviceGet", ctypes.byref(handle), ordinal)
    driver("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
    return Device(driver, ordinal, handle.value, context.value or 0)


def function(device: Device, image: bytes, name: str, shared_bytes: int = 0) -> Function:
    """A kernel of a cubin; raises DriverError if the device cannot run it."""
    driver, module, handle, stream = device.driver, *(ctypes.c_void_p() for _ in range(3))
    device.use()
    driver("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(image))
    driver("cuModuleGetFunction", ctypes.byref(handle), module, name.encode())
    if shared_bytes > 48 * 1024:  # beyond it a kernel has to ask
        driver("cuFuncSetAttribute", handle, DYNAMIC_SHARED, shared_bytes)
    driver("cuStreamCreate", ctypes.byref(stream), NON_BLOCKING)
    return Function(device, module, handle, stream, shared_bytes)


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
