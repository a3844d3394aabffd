"""Numbers as text that a page can hold: 16 bits a number, in base64. `explore/data.js` is the inverse.

What spans less than three decades is cut into equal steps; anything else into steps of equal ratio, with a
sign. Either way a number is off by at most half a step, which `resolution` states.
"""

import base64
import math

import numpy as np

MISSING = 0xFFFF  # not a number, or infinite
STEPS = 0x7FFE  # of the magnitude; a code of zero is the number zero, the highest bit is the sign
DECADES = 1000.0  # a smaller span is cut into equal steps
SMALLEST = 1e-15  # of the largest magnitude; what is smaller becomes zero


def pack(values) -> dict:
    """An array of numbers, of any shape, as a JSON object."""
    values = np.asarray(values, float)
    known = np.isfinite(values)
    size = np.abs(values[known])
    largest = float(size.max(initial=0.0))
    smallest = float(max(size[size > 0].min(initial=largest), SMALLEST * largest))
    codes = np.full(values.shape, MISSING, np.uint16)
    if largest <= DECADES * smallest:
        low, high = (float(f(values[known], initial=i)) for f, i in ((np.min, largest), (np.max, -largest)))
        step = (high - low) / (MISSING - 1) if high > low else 0.0
        codes[known] = np.round((values[known] - low) / step) if step else 0
        return _object(codes, "linear", low, step)
    step = math.log(largest / smallest) / (STEPS - 1)
    with np.errstate(divide="ignore"):
        place = 1 + np.round(np.log(size / smallest) / step)
    magnitude = np.where(size < smallest * (1 - step), 0, np.clip(place, 1, STEPS)).astype(np.uint16)
    sign = np.where((values[known] < 0) & (magnitude > 0), 0x8000, 0).astype(np.uint16)
    codes[known] = magnitude | sign
    return _object(codes, "log", smallest, step)


def pack_small(values) -> dict:
    """An array of small whole numbers, 0 to 254; what is negative is missing."""
    values = np.asarray(values)
    codes = np.where((values < 0) | (values > 254), 255, values).astype(np.uint8)
    return _object(codes, "small", 0.0, 1.0)


def unpack(packed: dict) -> np.ndarray:
    """The inverse of `pack` and `pack_small`, with NaN for what is missing."""
    small = packed["kind"] == "small"
    codes = np.frombuffer(base64.b64decode(packed["data"]), np.uint8 if small else "<u2")
    codes = codes.reshape(packed["shape"]).astype(int)
    missing = codes == (255 if small else MISSING)
    if packed["kind"] == "log":
        magnitude = codes & 0x7FFF
        values = packed["offset"] * np.exp(packed["step"] * (magnitude - 1))
        values = np.where(magnitude == 0, 0.0, np.where(codes & 0x8000, -values, values))
    else:
        values = packed["offset"] + packed["step"] * codes
    return np.where(missing, np.nan, values)


def _object(codes: np.ndarray, kind: str, offset: float, step: float) -> dict:
    data = codes if codes.dtype == np.uint8 else codes.astype("<u2")
    return {
        "shape": list(codes.shape),
        "kind": kind,
        "offset": offset,
        "step": step,
        "data": base64.b64encode(data.tobytes()).decode(),
    }
