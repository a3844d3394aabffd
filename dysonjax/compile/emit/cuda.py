"""The text of a kernel that trains networks, each by T threads of a warp, for many steps; C in tests.

Weights are in registers from the first to the last step of a call. What the networks of a world share is made
a chunk of steps ahead, in one half of a buffer while the other half is used.
"""

from collections.abc import Sequence
from typing import NamedTuple

from dysonjax.compile.emit.threads import ALIGNED, Shared, ThreadWriter
from dysonjax.compile.expressions import c_type, literal
from dysonjax.compile.graph import NETWORK, STEP, WORLD, Node, Unsupported
from dysonjax.compile.schedule import Plan

MOST_CHUNK = 16  # steps that are made ahead
SHARED_BYTES = 24 * 1024  # for a warp, so that a multiprocessor has room for eight,
MOST_SHARED = 96 * 1024  # and for a block
MOST_TABLES = 2**14  # numbers of constants in the text


class Text(NamedTuple):
    """A kernel in C."""

    text: str
    chunk: int
    shared_bytes: int


def write(
    plan: Plan,
    fixed: Sequence[Node],
    carried: Sequence[Node],
    index: Node,
    thread: Node,
    stopped: Node | None,
    threads: int,
    block: int,
) -> Text:
    """The kernel `advance` for a plan of one of T threads, in blocks of so many warps.

    Its argument is a struct of 64-bit words: addresses of the fixed arrays, of the carried ones, then how
    many warps a world has, the first step, and the number of steps. Arrays of a world are (worlds, ...),
    those of networks (warps, elements, 32).
    """
    names = {node: f"x{n}" for n, node in enumerate(fixed)} | {n: f"s{i}" for i, n in enumerate(carried)}
    names |= {index: "index", thread: "thread"} | {node: f"t{n}" for n, node in enumerate(plan.roots)}
    writer = ThreadWriter(plan, names, index)
    bodies = writer.bodies()
    if sum(node.size for node in writer.tables) > MOST_TABLES:
        raise Unsupported(f"constants of more than {MOST_TABLES} numbers in a kernel")
    chunk = _chunk(writer.shared, min(block * SHARED_BYTES, MOST_SHARED))
    offsets, shared_bytes = _offsets(writer.shared, chunk)
    if shared_bytes > MOST_SHARED:
        raise Unsupported(f"{shared_bytes} bytes a step that the networks of a world share")
    read = [number for number, node in enumerate(fixed) if node in plan.read]
    of_network = [number for number in read if fixed[number].scope == NETWORK]
    of_world = [number for number in read if fixed[number].scope != NETWORK]
    over = f"all_stopped(TRUTH({writer.names[stopped]}[0] >= 0))" if stopped is not None else "0"
    lines = [
        f"#define THREADS {threads}",
        '#include "threads.h"',
        "typedef struct {",
        *(f"const {_kind(node)} *x{number};" for number, node in enumerate(fixed)),
        *(f"{_kind(node)} *s{number};" for number, node in enumerate(carried)),
        "int64_t warps_of_world, first, count;",
        "} Arguments;",
        *(
            f"CONSTANT {c_type(node)} {name}[] = {{{', '.join(map(literal, node.params['value'].ravel()))}}};"
            for node, name in writer.tables.items()
        ),
        "KERNEL(advance) {",
        "PROLOGUE;",
        *(
            f"const {_kind(fixed[i])} *RESTRICT x{i} = given.x{i} + world * {fixed[i].size};"
            for i in of_world
        ),
        *(_loaded(f"x{i}", fixed[i]) for i in of_network),
        *(_loaded(f"s{i}", node) for i, node in enumerate(carried)),
        *(_pointer(s, offsets[s.name], "", "") for s in writer.shared if not s.of_steps),
        *_unrolled(bodies[WORLD]),
        "const int last = (int)(given.first + given.count);",
        f"int turn = 0; for (int start = (int)given.first; start < last + {chunk}; start += {chunk}) {{",
        # Copies of the turn before are there, and nobody uses any more what is now written over.
        "WAIT_FOR_COPIES; BARRIER;",
        "if (start < last) {",
        f"const int here = MIN({chunk}, last - start);",
        *(_pointer(s, offsets[s.name], chunk, "turn") for s in writer.shared if s.of_steps),
        *bodies[STEP],
        "COPIES_UNDER_WAY;",
        "}",
        "if (start > given.first) {",
        *(_pointer(s, offsets[s.name], chunk, "(turn ^ 1)") for s in writer.shared if s.twice),
        f"const int begin = start - {chunk}, here = MIN({chunk}, last - begin);",
        "ONE_BY_ONE for (int s = 0; s < here; s++) {",
        "STEP; const int32_s index = begin + s;",
        f"if ({over}) break;",
        *_unrolled(bodies[NETWORK]),
        "}",
        "}",
        "turn ^= 1;",
        "}",
        *(f"STORE(given.s{i}, s{i}, {max(node.size, 1)});" for i, node in enumerate(carried)),
        "}",
        "",
    ]
    return Text("\n".join(lines), chunk, shared_bytes)


def _kind(node: Node) -> str:
    """The type of a number in memory."""
    return c_type(node).removesuffix("_v").removesuffix("_s") + "_s"


def _loaded(name: str, node: Node) -> str:
    size = max(node.size, 1)
    return f"{c_type(node)} {name}[{size}]; LOAD({name}, given.{name}, {size});"


def _chunk(shared: Sequence[Shared], room: int) -> int:
    """Steps that are made ahead."""
    chunk = MOST_CHUNK
    while chunk > 1 and _offsets(shared, chunk)[1] > room:
        chunk //= 2
    return chunk


def _offsets(shared: Sequence[Shared], chunk: int) -> tuple[dict[str, int], int]:
    """Where arrays begin in shared memory, and what they take."""
    offsets, total = {}, 0
    for one in shared:
        offsets[one.name] = total
        total += _bytes(one, chunk) * (2 if one.twice else 1)
    return offsets, total


def _bytes(one: Shared, chunk: int) -> int:
    return -(-one.bytes * (chunk if one.of_steps else 1) // ALIGNED) * ALIGNED


def _pointer(one: Shared, offset: int, chunk, turn: str) -> str:
    half = f" + {turn} * {_bytes(one, chunk)}" if one.twice else ""
    return f"{one.kind} *{one.name} = ({one.kind} *)(shared + {offset}{half});"


def _unrolled(lines: Sequence[str]) -> list[str]:
    """Loops over registers have no counters: an array can be in registers if its indices are known."""
    return [f"UNROLL {line}" if line.startswith("for (int ") else line for line in lines]
