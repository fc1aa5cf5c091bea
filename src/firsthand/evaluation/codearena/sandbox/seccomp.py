"""Which system calls a judged program may not make, as the bytes of a BPF program for bubblewrap.

A deny list, not an allow list: eight languages' runtimes use most of what Linux has. It holds what has no use in a
solution and has been the way out of sandboxes: reading other processes, mounting, new namespaces, kernel keys, BPF,
performance counters, page-fault handlers, io_uring (which opens sockets that no other rule sees), loading kernels,
sockets of families that a network namespace does not confine. Calls for another architecture's ABI (32-bit and x32
programs on x86-64), whose numbers mean something else, kill the program.

Uses libseccomp through pyseccomp; knows nothing of bubblewrap.
"""

from __future__ import annotations

import errno
import os
import resource
from functools import cache
from typing import Any

from firsthand.errors import MissingDependencyError

__all__ = ["ABSENT", "FORBIDDEN", "MEMORY_WITHOUT_A_PROCESS", "filter_bytes"]

# Answered with EPERM, as a process without the privilege would be.
FORBIDDEN = (
    # other processes
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
    # mounts and namespaces
    "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "move_mount", "open_tree", "fsopen", "fsconfig",
    "fsmount", "fspick", "mount_setattr", "name_to_handle_at", "open_by_handle_at",
    # keys, which namespaces do not separate
    "add_key", "request_key", "keyctl",
    # kernel interfaces with a history
    "bpf", "perf_event_open", "userfaultfd", "fanotify_init", "lookup_dcookie", "vmsplice",
    # the machine itself
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff",
    "acct", "quotactl", "quotactl_fd", "syslog", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "stime",
    "sethostname", "setdomainname", "vhangup", "iopl", "ioperm", "modify_ldt", "nfsservctl",
)  # fmt: skip

# Answered with ENOSYS, as by a kernel that lacks them, so that libraries take the older way: clone3 keeps its flags
# in memory, where a filter cannot look; programs that try io_uring first go on with epoll.
ABSENT = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")

# Memory that belongs to no process and that only a memory cgroup counts. Denied where there is none.
MEMORY_WITHOUT_A_PROCESS = ("memfd_create", "memfd_secret", "shmget", "mq_open", "msgget")

_NEW_NAMESPACES = (
    0x00020000,  # CLONE_NEWNS
    0x02000000,  # CLONE_NEWCGROUP
    0x04000000,  # CLONE_NEWUTS
    0x08000000,  # CLONE_NEWIPC
    0x10000000,  # CLONE_NEWUSER
    0x20000000,  # CLONE_NEWPID
    0x40000000,  # CLONE_NEWNET
)
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: type on somebody's terminal


def _library() -> Any:
    try:
        import pyseccomp
    except ImportError as error:
        raise MissingDependencyError(
            "the sandbox needs pyseccomp: pip install 'firsthand[evaluation]'"
        ) from error
    except RuntimeError as error:  # what it raises where the C library is not there
        raise MissingDependencyError(
            "the sandbox needs the C library libseccomp: apt-get install libseccomp2"
        ) from error
    return pyseccomp


@cache
def filter_bytes(*, memory_is_counted: bool) -> bytes:
    """The filter for this machine's architecture, as `bwrap --seccomp` reads it.

    Args:
        memory_is_counted: whether a cgroup counts memory; where none does, memory that belongs to no process is
            denied as well.

    Raises:
        MissingDependencyError: pyseccomp or libseccomp is not installed.
    """
    seccomp = _library()
    denied = seccomp.ERRNO(errno.EPERM)
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    rules.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.KILL_PROCESS)

    def add(action: int, name: str, *conditions: Any) -> None:
        try:
            number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
        except OSError:
            return  # this libseccomp has not heard of it
        if number >= 0:  # below 0: other architectures have it, this one does not
            rules.add_rule(action, number, *conditions)

    for name in FORBIDDEN:
        add(denied, name)
    for name in ABSENT + (() if memory_is_counted else MEMORY_WITHOUT_A_PROCESS):
        add(seccomp.ERRNO(errno.ENOSYS), name)
    for flag in _NEW_NAMESPACES:
        add(denied, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    for request in _TERMINAL_INJECTION:
        add(denied, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, request))
    # A core dump's handler is the machine's own program, and the limit that keeps it from starting is to stay.
    add(denied, "setrlimit", seccomp.Arg(0, seccomp.MASKED_EQ, 0xFFFFFFFF, resource.RLIMIT_CORE))
    add(
        denied,
        "prlimit64",
        seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, resource.RLIMIT_CORE),
        seccomp.Arg(2, seccomp.NE, 0),
    )
    # Only a comparison with all 64 bits closes the gap that the kernel looks at 32 of them.
    for call in ("socket", "socketpair"):
        for family in range(_AF_INET6):
            if family not in (_AF_UNIX, _AF_INET):
                add(denied, call, seccomp.Arg(0, seccomp.EQ, family))
        add(denied, call, seccomp.Arg(0, seccomp.GT, _AF_INET6))
    return _exported(rules)


def _exported(rules: Any) -> bytes:
    memory = os.memfd_create("filter")
    with os.fdopen(memory, "r+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
