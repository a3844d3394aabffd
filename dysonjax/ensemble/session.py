"""A run under way: what is done, when it is saved, when it stops."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from dysonjax.checks import RunError
from dysonjax.ensemble import checkpoints, processes
from dysonjax.ensemble.checkpoints import Fragment, Progress
from dysonjax.ensemble.interrupts import READER_GONE, Interrupted, Request, resume_command
from dysonjax.ensemble.lock import Lock
from dysonjax.ensemble.results import Results
from dysonjax.ensemble.sealed import Damaged

SAVE_AT_RECORDS_SECONDS = 5.0  # at least, between saves at records
SAVE_COST = 100  # and this many times what the last save took: one per cent of a run at most
STATUS_SECONDS = 2.0


class Folder:
    """What a run that is kept needs to save itself: its folder, held by a lock, and its configuration."""

    def __init__(self, path: Path, lock: Lock, config: str, save_every: float):
        self.path, self.lock, self.config, self.save_every = path, lock, config, save_every
        self.checkpoints = path / "checkpoints"
        self.peers = processes.Peers(path)


class Session:
    """Keeps the books of one process.

    results: where records go. progress: what earlier sessions have done; changed as this one goes on.
    members: those of this process, by place in the grid of one batch size. last: the number of steps.
    folder: None for a run that stays in memory. report: called with network-steps done and in all.
    """

    def __init__(
        self,
        results: Results,
        progress: Progress,
        members: np.ndarray,
        last: int,
        request: Request,
        folder: Folder | None = None,
        report: Callable[[float, float], None] | None = None,
    ):
        self.results, self.progress, self.request = results, progress, request
        self.folder, self.report = folder, report
        self.members, self.last = members, last
        self.total = len(progress.done) * len(members) * last
        self.rewind()
        self.begin, self.begun_with = time.monotonic(), self.done
        self.saved, self.save_cost, self.recorded = self.begin, 0.0, False
        self.told = -STATUS_SECONDS
        self._tell()

    def seconds(self) -> float:
        """Of training, with those of earlier sessions up to their last checkpoint."""
        return self.progress.seconds + time.monotonic() - self.begin

    def rewind(self) -> None:
        """Count what is done from the last save on: what came after it is lost."""
        batches = range(len(self.progress.done))
        self.done = sum(self.progress.steps(b, self.members, self.last) for b in batches)

    def advanced(self, network_steps: int) -> None:
        self.done += network_steps
        self._tell()

    def save_or_stop(self, fragment: Callable[[], Fragment | None]) -> None:
        """Between two pieces of work: save if it is time, stop if asked to. fragment: who is under way."""
        if self.folder is None:
            return
        since = time.monotonic() - self.saved
        at_record = self.recorded and since > max(SAVE_AT_RECORDS_SECONDS, SAVE_COST * self.save_cost)
        lost = self.folder.peers.lost()
        if at_record or since > self.folder.save_every or self.request.signal is not None or lost:
            self.save(fragment())
        if self.request.signal is not None or lost:
            processes.let_others_leave(self.folder.path)
        if self.request.signal is not None:
            raise Interrupted(self.request.signal, self.folder.path)
        if lost:
            raise RunError(f"{lost}; go on with: {resume_command(self.folder.path)}")

    def complete(self, batch_index: int, members: np.ndarray) -> None:
        """These members have their last record."""
        self.progress.done[batch_index, members] = True
        self._set_fragments(None)
        self.save_or_stop(lambda: None)

    def save(self, fragment: Fragment | None) -> None:
        """Bring the results, then the checkpoint that vouches for them, to disk."""
        assert self.folder is not None, "a run without a folder is not saved"
        begin = time.monotonic()
        self._set_fragments(fragment)
        with self.writing():
            self.results.flush(self.progress.done)
            checkpoints.save(
                self.folder.checkpoints,
                processes.index(),
                self.folder.config,
                self.progress._replace(seconds=self.seconds()),
            )
        self.saved, self.recorded = time.monotonic(), False
        self.save_cost = self.saved - begin
        self._tell(at_once=True)

    def finish(self) -> None:
        """The last checkpoint, which has nothing under way."""
        if self.folder is not None:
            self.save(None)
            self._tell(at_once=True, finished=True)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Trouble with the disk ends the run with a sentence; a folder that vanished is not made anew."""
        assert self.folder is not None, "a run without a folder writes nothing"
        folder = self.folder.path
        self.folder.lock.check()
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{folder} cannot be written ({error.strerror or error}); what was written before "
                f"is intact: when it can be written again, {resume_command(folder)}"
            ) from None

    def _set_fragments(self, fragment: Fragment | None) -> None:
        """Keep the states of members that still wait for their turn, and that of those under way."""
        rest = []
        for old in self.progress.fragments:
            open_ = ~self.progress.done[old.batch_index, old.members]
            if fragment is not None and fragment.batch_index == old.batch_index:
                open_ &= ~np.isin(old.members, fragment.members)
            if open_.any():
                rest.append(old.of(old.members[open_]))
        self.progress.fragments[:] = rest + ([] if fragment is None else [fragment])

    def _tell(self, at_once: bool = False, finished: bool = False) -> None:
        if self.report is not None:
            try:
                self.report(self.done, self.total)
            except BrokenPipeError:
                if self.folder is None:
                    raise
                self.report, self.request.signal = None, self.request.signal or READER_GONE
        now = time.monotonic()
        if self.folder is None or (now - self.told < STATUS_SECONDS and not at_once):
            return
        self.told = now
        elapsed = now - self.begin
        status = {
            "done": self.done,
            "total": self.total,
            "rate": (self.done - self.begun_with) / elapsed if elapsed > 0 else 0.0,
            "finished": finished,
        }
        with self.writing():
            processes.write_status(self.folder.checkpoints, status)


def recover(results: Results, progress: Progress, say: Callable[[str], None]) -> tuple[Progress, bool]:
    """What of `progress` the store bears out, and whether that is less than all of it.

    Blocks that are not complete come back into memory. Members of a damaged block start again.
    """
    done, fragments, damaged = progress.done, progress.fragments, False
    blocks = -(-results.grid.seeds // results.seeds_per_block)
    for batch_index in range(len(done)):
        for block in range(blocks):
            members = results.members(block)
            begun = any(
                np.isin(members, f.members).any()
                for f in fragments
                if f.batch_index == batch_index and f.records
            )
            if not (begun or done[batch_index, members].any()):
                continue
            try:
                results.restore(batch_index, block)
            except Damaged as error:
                say(f"{error}; computing its {len(members)} networks again")
                damaged = True
                done[batch_index, members] = False
                fragments = [
                    f if f.batch_index != batch_index else f.of(np.setdiff1d(f.members, members))
                    for f in fragments
                ]
            if done[batch_index, members].all():
                results.blocks.pop((batch_index, block))
    return progress._replace(fragments=[f for f in fragments if len(f.members)]), damaged
