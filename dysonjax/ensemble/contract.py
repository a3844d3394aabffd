"""What the engine asks of a target: something that can compile and run the step of a network.

A target refuses what it cannot do, or does not do well, with a reason. What it takes it lowers for a tile of
members, and then compiles. The executable keeps the state of a tile in whatever form it likes; `pack` and
`unpack` translate from and to the plain form (see `layout`), which checkpoints hold.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jax

from dysonjax.ensemble.keys import Identity
from dysonjax.ensemble.layout import Points
from dysonjax.ensemble.shapes import OfOne
from dysonjax.ensemble.step import Observed
from dysonjax.ensemble.traces import Traces
from dysonjax.models.base import Model

if TYPE_CHECKING:
    import optax


class Refused(Exception):
    """A target does not take a step; the message says why, as the end of a sentence."""


class Failed(Exception):
    """An executable could not go on; the message says why. What it was given is as it was."""

    def __init__(self, message: str, memory: bool = False):
        super().__init__(message)
        self.memory = memory  # whether a smaller tile may help


class Pending(Protocol):
    """What is being computed."""

    def result(self) -> Any: ...


class Later(NamedTuple):
    """What is being computed: how one waits for it."""

    result: Callable[[], Any]


class Programs(NamedTuple):
    """Functions over tiles by XLA; the leading axis of everything is the device. See `programs`."""

    start: jax.stages.Wrapped  # identity -> worlds, states
    # identity, worlds, states, first step, number of steps -> states; donates the states
    advance: jax.stages.Wrapped
    observe: jax.stages.Wrapped  # identity, worlds, states -> `Observed`
    targets: jax.stages.Wrapped  # identity, worlds -> targets of `Observed` alone


class Task(NamedTuple):
    """The step of one network, and how many there are of it."""

    model: Model
    optimizer: optax.GradientTransformation
    batch_size: int
    common: bool  # whether the points of a seed share its randomness
    devices: list[jax.Device]
    programs: Programs  # not lowered
    traces: Traces  # what tracing gave in an earlier run
    one: OfOne  # shapes of one network
    state_bytes: int  # of one network
    xla_follows: bool  # whether XLA is asked too: who is slower than it then refuses
    matrices: bool  # whether somebody reads matrices at a record, or their levels alone

    def observed(self, tile: Tile) -> Observed:
        """Shapes of what is observed."""
        return self.one.of_observed(*tile.shape)


class Tile(NamedTuple):
    """A tile for each device."""

    identity: Identity
    world: Any  # shapes, as XLA's programs have them, with the sharding over devices
    state: Any
    points: Points  # of `state`

    @property
    def plain(self) -> Any:
        """Shapes of the state in the plain form."""
        return jax.tree.map(self.points.plain_shape, self.state)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Devices, worlds, points."""
        devices, worlds, points = self.identity.point["lr"].shape
        return devices, worlds, points


class Executable(NamedTuple):
    """A compiled task. A state is in the target's own form; nobody else looks into it."""

    start: Callable[[Identity], tuple[Any, Any]]  # -> worlds, state
    # identity, worlds, state, first, count (devices,) -> state; it and its result may raise Failed
    advance: Callable[..., Pending]
    observe: Callable[..., Pending]  # identity, worlds, state -> `Observed`
    pack: Callable[[Any], Any]  # a plain state -> state
    unpack: Callable[[Any], Any]  # and back, as NumPy arrays that nobody changes
    bytes: int = 0  # on a device while a tile is trained, beside its states, where the target knows


class Lowered(NamedTuple):
    """A task that is traced; `compile` raises Refused if the compiler is missing or fails."""

    compile: Callable[[], Executable]
    observed: Any  # shapes of what is observed
    scratch_bytes: int = 0  # of intermediate arrays, where the target knows


class Target(NamedTuple):
    """One way to run a step, an entry of the list in `targets`."""

    name: str
    backend: str  # the option that selects it besides "auto"
    refuses: Callable[[Task], str | None]  # before anything is traced: why not, if so
    cost: Callable[[Model, int, int], float]  # of a step of a tile of worlds x points, in networks
    most_members: Callable[[Task], int]  # that a tile may have
    lower: Callable[[Task, Tile], Lowered]  # raises Refused
    # Whether it could ever run on such devices; if not, "auto" passes it over without a word.
    meant_for: Callable[[jax.Device], bool] = lambda device: True


def at_once(*functions: Callable[[], Any]) -> list[Any]:
    """What several compilations return; the first error is raised when all have ended."""
    with ThreadPoolExecutor(len(functions)) as pool:
        running = [pool.submit(function) for function in functions]
    return [each.result() for each in running]
