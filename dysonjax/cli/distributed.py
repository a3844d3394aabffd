"""Many processes, one run: options, and how a process joins the others."""

import dataclasses
import os
import sys
import threading
from typing import Annotated

import tyro

from dysonjax import checks
from dysonjax.checks import InputError


@dataclasses.dataclass(frozen=True)
class ProcessOptions:
    """How the processes of one run find each other."""

    distributed: bool = False
    """Share the run with the other processes of this job, by JAX's distributed runtime; jobs of SLURM, MPI,
    Kubernetes and TPU pods are recognised. Needs --out, a folder that all of them see."""
    coordinator: str | None = None
    """HOST:PORT of process 0, for a job that is not recognised; with --num-processes and --process-id."""
    num_processes: int | None = None
    """Number of processes, where the job is not recognised."""
    process_id: int | None = None
    """Number of this process, from 0, where the job is not recognised."""
    join_seconds: float = 300.0
    """How long to wait until all processes are there."""


Processes = Annotated[ProcessOptions, tyro.conf.arg(name="")]  # its options carry no prefix
PROCESSES = ProcessOptions()


def join(options: ProcessOptions) -> int:
    """Join the other processes if the options say so; returns the number of this process.

    To be called before JAX is used. Raises InputError if the options do not fit together or the job is not
    recognised. Ends the process with a sentence and exit code 2 if the others do not come in time: JAX itself
    would abort.
    """
    given = {name: getattr(options, name) for name in ("coordinator", "num_processes", "process_id")}
    if not options.distributed:
        for name, value in given.items():
            if value is not None:
                raise InputError(f"{name} is an option of --distributed")
        return 0
    seconds = checks.positive("join_seconds", options.join_seconds)
    arguments = _explicit(**given)

    import jax

    from dysonjax.ensemble import one_device_per_core

    one_device_per_core()
    whom = f"the coordinator at {options.coordinator}" if options.coordinator else "the other processes"
    if options.num_processes is not None and options.process_id == 0:
        whom = f"all of the other {options.num_processes - 1} processes"

    def give_up():
        print(f"dysonjax: {whom} could not be reached within {seconds:g} s", file=sys.stderr, flush=True)
        os._exit(2)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    # A lost process does not abort the others: they see it themselves, save, and stop with a sentence.
    jax.config.update("jax_enable_recoverability", True)
    try:
        jax.distributed.initialize(
            **arguments,
            initialization_timeout=int(seconds) + 60,
            heartbeat_timeout_seconds=60,
            shutdown_timeout_seconds=20,
        )
    except ValueError as error:
        raise InputError(
            f"the job was not recognised ({error}); "
            "give --coordinator HOST:PORT --num-processes N --process-id I"
        ) from None
    finally:
        timer.cancel()
    return jax.process_index()


def _explicit(coordinator: str | None, num_processes: int | None, process_id: int | None) -> dict:
    """Arguments of `jax.distributed.initialize`; none if the job is to be recognised."""
    if coordinator is None and num_processes is None and process_id is None:
        return {}
    if coordinator is None or num_processes is None or process_id is None:
        raise InputError("coordinator, num_processes and process_id go together")
    host, _, port = coordinator.rpartition(":")
    if not (host and checks.digits(port) and 0 < int(port) < 65536):
        raise InputError(f"coordinator must be HOST:PORT, got {coordinator!r}")
    count = checks.positive_int("num_processes", num_processes)
    number = checks.positive_int("process_id", process_id, 0)
    if number >= count:
        raise InputError(f"process_id must be below num_processes ({count}), got {number}")
    return {"coordinator_address": coordinator, "num_processes": count, "process_id": number}
