"""The wire format of protocol buffers: the fields of a message as they stand in a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

from dysonjax.checks import InputError

_BAD = "it is truncated or no protocol buffer"


@dataclass(frozen=True)
class Message:
    """A message at a range of bytes. Nothing is read but the keys and lengths on the way."""

    data: "mmap | bytes"
    start: int
    end: int

    def fields(self) -> Iterator[tuple[int, "int | Message"]]:
        """(number of the field, its value): an integer, or the range of a text, an array or a message."""
        at = self.start
        while at < self.end:
            key, at = _varint(self.data, at, self.end)
            wire = key & 7
            if wire == 0:
                value, at = _varint(self.data, at, self.end)
                yield key >> 3, value
                continue
            if wire == 2:
                length, at = _varint(self.data, at, self.end)
            elif wire in (1, 5):
                length = 8 if wire == 1 else 4
            else:
                raise InputError(_BAD)
            if length > self.end - at:
                raise InputError(_BAD)
            yield key >> 3, Message(self.data, at, at + length)
            at += length

    def bytes(self) -> bytes:
        return bytes(self.data[self.start : self.end])

    def text(self) -> str:
        return self.bytes().decode("utf-8", "replace")

    def varints(self) -> list[int]:
        """Integers packed one after another."""
        at, values = self.start, []
        while at < self.end:
            value, at = _varint(self.data, at, self.end)
            values.append(value)
        return values


def _varint(data, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1), at
    raise InputError(_BAD)


def signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
