"""What a process learns from torchrun: which one it is, how many there are, and how to wait for the others.

Knows nothing of what the processes do. Under torchrun the same program runs in every process, and each finds
its place in the environment; where there is no torchrun, or one process only, there is one rank, nothing is
started and `torch.distributed` is not imported.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from firsthand.errors import CheckError, InputError, MissingDependencyError

__all__ = ["Rank", "process_group", "this_rank"]

# The first rank may read a whole corpus while the others wait. A process that dies is noticed at once; this
# ends the wait for one that hangs.
WAIT_SECONDS = 6 * 3600.0
CONNECT_SECONDS = 600.0  # some machines are slow to start Python


@dataclass(frozen=True)
class Rank:
    """One of `world` processes: `rank` counts them all, `local_rank` those on this machine, from 0."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the one that reports."""
        return self.rank == 0

    def takes(self, number: int) -> bool:
        """Whether this rank does piece `number` of a numbered lot; each piece has one that does."""
        return number % self.world == self.rank

    def device(self, device: str = "auto") -> str:
        """Where this rank's model goes: "auto" and "cuda" become this process's own GPU where there are
        several processes and CUDA; anything else stays.

        Raises `InputError` where the machine has fewer GPUs than processes.
        """
        if self.world == 1 or device not in ("auto", "cuda"):
            return device
        import torch

        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if there == 0:
            return device
        if self.local_rank >= there:
            raise InputError(
                f"this machine has {there} GPUs and this is its process {self.local_rank + 1}; start at most "
                f"{there} (torchrun --nproc-per-node {there}), or choose the device 'cpu'"
            )
        return f"cuda:{self.local_rank}"

    def barrier(self) -> None:
        """Wait until all ranks have come here. Within `process_group` only.

        Raises `CheckError` where another rank ended, or did not come in time; `InputError` outside.
        """
        if self.world == 1:
            return
        import torch.distributed as processes

        if not processes.is_initialized():
            raise InputError("the processes are not connected: call barrier within process_group()")
        try:
            processes.barrier()
        except RuntimeError as error:
            raise CheckError(
                f"process {self.rank} of {self.world} waited for the others in vain: one of them failed "
                f"(its own message says why) or hangs: {error}"
            ) from error


def this_rank() -> Rank:
    """What the environment says (RANK, WORLD_SIZE, LOCAL_RANK); raises `InputError` where it contradicts
    itself."""
    values = {}
    for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")):
        text = os.environ.get(name) or default
        try:
            values[name] = int(text)
        except ValueError:
            raise InputError(f"the environment's {name} must be a whole number, got {text!r}") from None
    rank, world = values["RANK"], values["WORLD_SIZE"]
    lacking = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if world > 1 and lacking:
        raise InputError(
            f"the environment's WORLD_SIZE is {world} and there is no {', '.join(lacking)}: start the "
            "processes with torchrun, or unset WORLD_SIZE"
        )
    if not 0 <= rank < max(world, 1):
        raise InputError(f"the environment's RANK is {rank} and its WORLD_SIZE {world}")
    return Rank(rank, max(world, 1), values["LOCAL_RANK"])


@contextlib.contextmanager
def process_group(*, wait_seconds: float = WAIT_SECONDS) -> Iterator[Rank]:
    """This process's `Rank`, with all the processes connected for the block.

    Gloo on processors and, for whoever sends tensors between GPUs, NCCL where there is CUDA. Barriers go over
    Gloo. A process that dies breaks its connections, so that the others' barriers raise at once; torchrun
    ends them too, and starts all again where it has restarts left. One that hangs is given up after
    `wait_seconds`.

    Raises:
        InputError: the environment contradicts itself, or the processes cannot be connected.
        MissingDependencyError: several processes and no torch.
    """
    rank = this_rank()
    if rank.world == 1:
        yield rank
        return
    try:
        import torch
        import torch.distributed as processes
    except ImportError as error:
        raise MissingDependencyError("several processes need torch: pip install 'firsthand[lm]'") from error
    own = not processes.is_initialized()
    if own:
        nccl = torch.cuda.is_available() and processes.is_nccl_available()
        try:
            processes.init_process_group(
                "cpu:gloo,cuda:nccl" if nccl else "gloo",
                store=_store_of_this_start(rank),
                rank=rank.rank,
                world_size=rank.world,
                timeout=timedelta(seconds=wait_seconds),
            )
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"process {rank.rank} of {rank.world} cannot connect to the others at "
                f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}: {error}"
            ) from error
    try:
        yield rank
    finally:
        if own:
            processes.destroy_process_group()


def _store_of_this_start(rank: Rank) -> Any:
    """Where the processes find each other's addresses: those of this start, none left from a former one.

    torchrun keeps one store through its restarts (pytorch issue 135712), and how often it restarted is not
    the same number on every machine. So each process makes a name for itself, the first one answers to
    the name with that of this start, and goes on when all have confirmed it. A name that a dead process left
    is answered too, and nobody confirms.
    """
    import torch.distributed as processes
    from torch.distributed.rendezvous import rendezvous

    limit = timedelta(seconds=CONNECT_SECONDS)
    store, _, _ = next(rendezvous("env://", rank.rank, rank.world, timeout=limit))
    start = _agreed(store, rank, limit)
    return processes.PrefixStore(f"firsthand/{start}", store)  # type: ignore[attr-defined]


def _agreed(store: Any, rank: Rank, limit: timedelta) -> str:
    """The name that the first process gave this start."""
    own = uuid.uuid4().hex
    if not rank.first:
        store.set(f"firsthand/name/{rank.rank}", own)
        store.wait([f"firsthand/start/{own}"], limit)
        start: str = store.get(f"firsthand/start/{own}").decode()
        store.set(f"firsthand/here/{start}/{rank.rank}", "")
        return start
    answered: dict[int, bytes] = {}
    missing = set(range(1, rank.world))
    deadline = time.monotonic() + limit.total_seconds()
    while missing:
        for other in sorted(missing):
            name = f"firsthand/name/{other}"
            if store.check([f"firsthand/here/{own}/{other}"]):
                missing.discard(other)
            elif store.check([name]) and answered.get(other) != (given := store.get(name)):
                answered[other] = given
                store.set(f"firsthand/start/{given.decode()}", own)
        if missing and time.monotonic() > deadline:
            raise RuntimeError(f"no sign of the processes {sorted(missing)} in {limit}")
        time.sleep(0.02)
    return own
