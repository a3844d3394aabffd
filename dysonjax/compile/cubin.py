"""What a cubin says of its kernel: registers, stack, shared memory, and the instructions of its loops.

A cubin is an ELF file. Of a kernel NAME the section `.nv.info` holds registers and stack, `.nv.shared.NAME`
the static shared memory, `.text.NAME` the instructions, of 16 bytes each from compute capability 7.0 on. No
other package is needed to read them.
"""

import struct
from typing import NamedTuple

INSTRUCTION = 16  # bytes
BRANCHES = (0x947, 0x547)  # BRA and BRA.U; the low 12 bits of an instruction name it
MARK = 0x801  # PMTRIG
HOPPER = 90  # the compute capability from which on branches have eight bits more
# Attributes of `.nv.info`: format, number.
REGISTERS, FRAME, STACK = (4, 0x2F), (4, 0x11), (4, 0x12)


class Loop(NamedTuple):
    """From the target of a branch backwards to the branch, in instructions."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


class Usage(NamedTuple):
    """What a kernel takes."""

    registers: int  # of a thread
    stack: int  # bytes of a thread, in slow memory
    shared: int  # static bytes of a block
    instructions: int
    loops: list[Loop]  # longest first

    mark: int | None  # the first instruction PMTRIG, which says where a loop is

    @property
    def marked(self) -> int:
        """Instructions of the innermost loop around the mark; 0 if there is none."""
        around = [loop.length for loop in self.loops if loop.first <= (self.mark or -1) <= loop.last]
        return min(around, default=0)


def usage(content: bytes, name: str) -> Usage:
    """Of a kernel of a cubin; raises ValueError if there is none of this name."""
    sections = _sections(content)
    if f".text.{name}" not in sections:
        raise ValueError(f"the cubin holds no kernel {name}")
    text = sections[f".text.{name}"]
    info = _info(sections.get(".nv.info", b""))
    (flags,) = struct.unpack_from("<I", content, 0x30)
    architecture = max(flags & 0xFF, flags >> 8 & 0xFF)  # files of CUDA 12 and 13
    return Usage(
        max(info.get(REGISTERS, [0])),
        max(info.get(STACK, [0]) + info.get(FRAME, [0])),
        len(sections.get(f".nv.shared.{name}", b"")),
        len(text) // INSTRUCTION,
        _loops(text, architecture),
        next((p for p, low in enumerate(_words(text)) if low & 0xFFF == MARK), None),
    )


def _words(text: bytes) -> list[int]:
    """The first half of every instruction."""
    return [low for low, _ in struct.iter_unpack("<QQ", text)]


def _loops(text: bytes, architecture: int) -> list[Loop]:
    found = []
    for place, (low, high) in enumerate(struct.iter_unpack("<QQ", text)):
        if low & 0xFFF not in BRANCHES:
            continue
        offset = (high << 64 | low) >> 34 & (1 << 48) - 1  # from the next instruction, in units of 4 bytes
        offset -= offset >> 47 << 48  # signed
        if architecture >= HOPPER:
            offset = offset << 8 | low >> 16 & 0xFF
        first = place + 1 + offset * 4 // INSTRUCTION
        if 0 <= first < place:  # not the endless branch to itself that ends a kernel
            found.append(Loop(first, place))
    return sorted(found, key=lambda loop: -loop.length)


def _info(data: bytes) -> dict[tuple[int, int], list[int]]:
    """The values of attributes of the form (symbol, value)."""
    found: dict[tuple[int, int], list[int]] = {}
    place = 0
    while place + 4 <= len(data):
        form, number, size = struct.unpack_from("<BBH", data, place)
        place += 4
        if form != 4:  # the value is in the place of the size
            continue
        if size == 8:
            found.setdefault((form, number), []).append(struct.unpack_from("<I", data, place + 4)[0])
        place += size
    return found


def _sections(content: bytes) -> dict[str, bytes]:
    """The sections of a 64-bit little-endian ELF file, by name."""
    if content[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a cubin")
    (table,) = struct.unpack_from("<Q", content, 0x28)
    size, count, names = struct.unpack_from("<HHH", content, 0x3A)
    heads = [struct.unpack_from("<IIQQQQ", content, table + number * size) for number in range(count)]

    def body(head):
        _, kind, _, _, offset, length = head
        return bytes(length) if kind == 8 else content[offset : offset + length]  # 8: all zeros, not stored

    texts = body(heads[names])
    return {texts[head[0] : texts.index(b"\0", head[0])].decode(): body(head) for head in heads}
