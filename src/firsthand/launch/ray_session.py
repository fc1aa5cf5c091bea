"""A Ray to work on: the caller's own, a cluster at an address, or one started on this machine for the while.

Knows how Ray is joined, started and left, and nothing of what runs on it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from firsthand.errors import InputError, MissingDependencyError
from firsthand.launch.threads import ONE_THREAD

__all__ = ["ATTEMPTS", "ray_session"]

ATTEMPTS = 3  # a worker that dies (out of memory, killed) costs one; errors of the work's own are not retried


@contextlib.contextmanager
def ray_session(workers: int, address: str | None = None) -> Iterator[Any]:
    """The module `ray`, initialised for the block.

    A Ray that is initialised already is taken as it is and left running. Otherwise the cluster at `address`
    is joined, or one of `workers` processors is started on this machine, and left at the end.

    Raises:
        MissingDependencyError: Ray is not installed.
        InputError: no Ray answers at `address`, or none can be started here.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError("--engine ray needs Ray: pip install 'firsthand[ray]'") from error
    own = not ray.is_initialized()
    if own:
        _start(ray, workers, address)
    try:
        yield ray
    finally:
        if own:
            ray.shutdown()


def _start(ray: Any, workers: int, address: str | None) -> None:
    """Join the cluster at `address`, or start one of `workers` processors on this machine."""
    variables = dict(ONE_THREAD)
    arguments: dict[str, Any]
    if address is None:
        # Workers on this machine find what this interpreter finds. "local" is said outright, or Ray would
        # look into RAY_ADDRESS and refuse our number of processors.
        variables["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        arguments = {"address": "local", "num_cpus": workers, "include_dashboard": False}
    else:
        _reach(address, ray)
        arguments = {"address": address}
    try:
        ray.init(
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            logging_level=logging.ERROR,
            **arguments,
        )
    except (Exception, SystemExit) as error:  # whatever Ray raises, the user named the address
        where = f"at the address {address!r}" if address else "on this machine"
        raise InputError(f"cannot start on Ray {where}: {type(error).__name__}: {error}") from error


def _reach(address: str, ray: Any) -> None:
    """Raise `InputError` where nobody listens at HOST:PORT: Ray itself would wait for minutes and end us."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"the address of a Ray cluster is HOST:PORT, got {address!r}: {error}") from error
    if host is None or port is None:  # "auto" and its like are Ray's to explain
        return
    # Ray takes a loopback address for this node's own.
    own = [ray.util.get_node_ip_address()] if host in ("localhost", "127.0.0.1", "::1") else []
    for candidate in [host, *own]:
        try:
            socket.create_connection((candidate, port), timeout=5.0).close()
            return
        except OSError as error:
            last = error
    raise InputError(f"no Ray cluster answers at the address {address!r}: {last}") from last
