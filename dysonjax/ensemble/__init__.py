"""Everything that knows there are many networks: grid, keys, tiles, training loop, devices, results."""

from typing import TYPE_CHECKING

from dysonjax import lazy

if TYPE_CHECKING:
    from dysonjax.ensemble import devices as devices
    from dysonjax.ensemble.config import Config, check
    from dysonjax.ensemble.devices import cores, one_device_per_core
    from dysonjax.ensemble.grid import Grid, log_spaced
    from dysonjax.ensemble.identity import Member, member_of, world_of
    from dysonjax.ensemble.interrupts import Interrupted
    from dysonjax.ensemble.merge import merge
    from dysonjax.ensemble.optimizers import Optimizer
    from dysonjax.ensemble.over import train_each
    from dysonjax.ensemble.processes import barrier
    from dysonjax.ensemble.processes import index as process_index
    from dysonjax.ensemble.results import configuration, intact, read
    from dysonjax.ensemble.status import status
    from dysonjax.ensemble.training import Plan, Run, estimate, plan, resume, run, train
    from dysonjax.ensemble.verification import Verification, verify

__all__ = [
    "Config",
    "Grid",
    "Interrupted",
    "Member",
    "Optimizer",
    "Plan",
    "Run",
    "Verification",
    "barrier",
    "check",
    "configuration",
    "cores",
    "estimate",
    "intact",
    "log_spaced",
    "member_of",
    "merge",
    "one_device_per_core",
    "plan",
    "process_index",
    "read",
    "resume",
    "run",
    "status",
    "train",
    "train_each",
    "verify",
    "world_of",
]

lazy.attach(__name__)
