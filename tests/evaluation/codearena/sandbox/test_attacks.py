"""Programs that attack: each is contained, gets the right verdict, and the judge judges right after it.

Programs that try to reach something print what they got: nothing, where the sandbox is right, and nothing is the
expected answer. Bombs run with both kinds of counting.
"""

from __future__ import annotations

import os
import platform
import resource
import socket
from pathlib import Path

import pytest

from firsthand.evaluation.codearena.sandbox.limits import Limits

from .conftest import judged, language
from .processes import long_time, running, wait_until

# --- bombs ---------------------------------------------------------------------------------------

BOMBS = {
    "fork bomb": (
        "python",
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        "TLE or MLE",  # the sampler takes what they share for what each of them has
    ),
    "fork bomb in C": ("c", "#include <unistd.h>\nint main(void) { for (;;) fork(); }", "TLE"),
    "memory bomb": ("python", "held = []\nwhile True:\n    held.append(bytes(b'x') * (1 << 22))", "MLE"),
    "memory bomb in C": (
        "c",
        "#include <stdlib.h>\n#include <string.h>\nint main(void) { for (;;) { char *p = malloc(1 << 20);"
        " if (p) memset(p, 1, 1 << 20); } }",
        "MLE",
    ),
    "memory bomb of many processes": (
        "python",
        "import os, time\nfor _ in range(8):\n    if not os.fork():\n        held = bytes(b'x') * (24 << 20)\n"
        "        time.sleep(60)\ntime.sleep(60)",
        "MLE",
    ),
    "output bomb": ("python", "import os\nwhile True:\n    os.write(1, b'x' * 65536)", "OLE"),
    "output bomb in C": ("c", '#include <stdio.h>\nint main(void) { for (;;) puts("x"); }', "OLE"),
    "error bomb": ("python", "import os\nwhile True:\n    os.write(2, b'x' * 65536)", "OLE"),
    "error bomb in C": (
        "c",
        '#include <stdio.h>\nint main(void) { char b[65536] = {0}; for (;;) fwrite(b, 1, sizeof b, stderr); }',
        "OLE",
    ),
    "output in one place far out": ("python", "import os\nos.lseek(1, 1 << 40, 0)\nos.ftruncate(1, 1 << 40)", "RTE"),
    "endless sleep": ("python", "import time\ntime.sleep(1e6)", "TLE"),
    "waiting for what never comes": ("c", "#include <unistd.h>\nint main(void) { for (;;) pause(); }", "TLE"),
    "spin": ("python", "while True:\n    pass", "TLE"),
    "spin in C": ("c", "int main(void) { for (volatile int i = 0;; i++); }", "TLE"),
    "spin of many threads": (
        "c",
        "#include <pthread.h>\nstatic void *spin(void *p) { for (;;); return p; }\nint main(void) { pthread_t t;"
        " for (int i = 0; i < 10; i++) pthread_create(&t, 0, spin, 0); pthread_join(t, 0); }",
        "TLE",
    ),
    "deep recursion": ("c", "int down(volatile int *n) { int m = *n + 1; return down(&m) + m; }\n"
                            "int main(void) { volatile int n = 0; return down(&n); }", "MLE or RTE"),
    "deep recursion in Python": ("python", "def down():\n    down()\ndown()", "RTE"),
    "deaf to SIGXCPU and SIGTERM": (
        "python",
        "import signal\nfor number in set(signal.Signals) - {9, 19}:\n    signal.signal(number, signal.SIG_IGN)\n"
        "while True:\n    pass",
        "TLE",
    ),
    "kills itself": ("python", "import os\nos.kill(os.getpid(), 9)", "RTE"),
    "stops itself": ("python", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "TLE"),
    "kills all it can": ("python", "import os\nos.kill(-1, 9)\nraise SystemExit(3)", "RTE"),
}  # fmt: skip


SLEEPERS = ("endless sleep", "waiting for what never comes", "stops itself")


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(survives, name, monkeypatch):
    slug, source, verdict = BOMBS[name]
    found = language(slug)
    # Only who sleeps is stopped by the clock: a machine that is busy keeps the others waiting.
    quick = Limits(cpu_s=0.25, wall_s=0.4 if name in SLEEPERS else 6, memory_mb=96, output_kb=2048, file_mb=2)
    monkeypatch.setattr(type(found), "limits", lambda *_: quick)
    grade = judged(survives, source, slug=slug)
    assert grade.verdict in verdict.split(" or "), grade


def test_many_threads_and_processes_stop_at_their_limit(survives):
    source = """
import threading, time
count = 0
try:
    for count in range(1, 1000):
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
except RuntimeError:
    print(count, flush=True)
    import os
    os._exit(0)
"""
    # With the program's first thread the 64th is one too many.
    grade = judged(survives, source, expected="64", time_ms=5000)
    assert grade.verdict == "AC", grade


def test_many_open_files_stop_at_their_limit(survives):
    source = """
held = []
try:
    while True:
        held.append(open("/input"))
except OSError as error:
    print(error.errno)
"""
    assert judged(survives, source, expected="24").verdict == "AC"


def test_temporary_files_have_an_end(survives):
    source = """
for place in ("/tmp/a", "/dev/shm/a"):
    try:
        with open(place, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
    except OSError as error:
        print(error.errno)
"""
    assert judged(survives, source, expected="28 28").verdict == "AC"


@pytest.mark.parametrize("signals", ["", "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"])
def test_a_daemon_does_not_outlive_its_parent(survives, signals):
    word = long_time()
    source = f"""
import os
{signals}
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv("/bin/sleep", ["sleep", "{word}"])
    os._exit(0)
os.wait()
print("done")
"""
    assert judged(survives, source, expected="done").verdict == "AC"
    assert not running(word)


def test_a_daemon_s_memory_counts(survives):
    source = """
import os, time
if os.fork() == 0:
    os.setsid()
    held = bytes(b"x") * (200 << 20)
time.sleep(60)
"""
    assert judged(survives, source).verdict == "MLE"


def test_a_closed_output_is_an_empty_one(survives):
    assert judged(survives, "import os\nos.close(1)\nos.close(2)\nos.close(0)").verdict == "AC"
    assert judged(survives, "import os\nos.close(1)", expected="1").verdict == "WA"


def test_nul_and_what_is_no_utf_8_are_wrong_and_no_more(survives):
    source = (
        r"import sys; sys.stdout.buffer.write(b'4\x00\xff\xfe2'); sys.stderr.buffer.write(b'\x00\xff\x1b[2J')"
    )
    grade = judged(survives, source, expected="42")
    assert grade.verdict == "WA"
    assert "\0" not in grade.message


def test_error_text_for_people_has_neither_an_end_of_its_own_nor_control_characters(survives):
    source = r"import sys; sys.stderr.write('\x1b]0;owned\x07' + 'x' * 10**6); sys.exit(1)"
    grade = judged(survives, source)
    assert grade.verdict == "RTE"
    assert len(grade.message) < 10_000
    assert "\x1b" not in grade.message
    assert "\x07" not in grade.message


def test_output_that_is_taken_back_was_still_too_much(survives):
    source = """
import os
try:
    while True:
        os.write(1, bytes(1 << 20))
except OSError:
    os.ftruncate(1, 0)
print(1)
while True:
    pass
"""
    assert judged(survives, source, expected="1", time_ms=400).verdict in ("OLE", "TLE")


# --- files ---------------------------------------------------------------------------------------


def test_nothing_of_the_host_s_can_be_read(contains, tmp_path):
    (tmp_path / "secret").write_text("SECRET")
    here = [
        str(Path(__file__)),
        str(tmp_path / "secret"),
        "/etc/passwd",
        "/etc/shadow",
        "/etc/hostname",
        "/root",
    ]
    here += [
        "/home",
        "/var",
        "/opt",
        "/run",
        "/sys",
        "/srv",
        "/mnt",
        "/boot",
        "/proc/kcore",
        "/dev/mem",
        "/dev/sda",
    ]
    here += ["/proc/sysrq-trigger", "/proc/1/root/etc/passwd", "/proc/self/root/etc/shadow", "/proc/kmsg"]
    contains(f"""
import os
for path in {here!r}:
    try:
        print(path, os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(10))
    except OSError:
        pass
""")


def test_all_there_is_outside_usr_and_proc_is_known(contains):
    """Neither other submissions, nor other cases, nor the expected answer, nor a socket of the machine's."""
    source = """
import os, stat
for folder, folders, files in os.walk("/"):
    if folder == "/":
        folders[:] = sorted(set(folders) - {"usr", "proc"} - {f for f in folders if os.path.islink("/" + f)})
    for name in files:
        path = os.path.join(folder, name)
        if not folder.startswith(("/dev", "/etc/alternatives", "/lib", "/bin", "/sbin")):
            print(path, "rb" if stat.S_ISREG(os.stat(path).st_mode) else "special")
print(open("/input").read())
print(*sorted(os.listdir("/dev")))
"""
    grade = contains(source, stdin="THE-INPUT", checker="unordered_lines", expected="\n".join([
        "/box/main.py rb",
        "/input rb",
        "/etc/ld.so.cache rb",
        "THE-INPUT",
        "console core fd full null ptmx pts random shm stderr stdin stdout tty urandom zero".replace("console ", ""),
    ]))  # fmt: skip
    assert grade.cases[0].detail == ""


def test_the_expected_answer_is_nowhere_near(contains):
    contains(
        """
import os
wanted = "".join(map(chr, LETTERS))
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("cmdline", "environ", "comm", "fd", "mountinfo", "maps", "status"):
        path = f"/proc/{pid}/{name}"
        try:
            if name == "fd":
                text = " ".join(os.readlink(f"{path}/{number}") for number in os.listdir(path))
            else:
                text = open(path, "rb").read().decode("latin-1")
        except OSError:
            continue
        if wanted in text:
            print("found in", path)
print(wanted)
""".replace("LETTERS", str([ord(letter) for letter in "THE-ANSWER-IS-HERE"])),
        expected="THE-ANSWER-IS-HERE",
    )


def test_no_descriptor_of_the_judge_s_is_open(contains):
    contains(
        """
import os
for pid in ("self", "1"):
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
            os.stat(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue  # the folder that is being listed
        if int(number) > 2 and pid == "self" or int(number) > 2 and not target.startswith(("socket:", "/input")):
            print(pid, number, target)
"""
    )


def test_another_submission_that_runs_at_the_same_time_cannot_be_seen(sandbox, contains):
    with sandbox.box({"secret": b"OTHER-SUBMISSION"}) as box:
        other = box._folder
        contains(f"""
import os
for path in ({str(other)!r}, {str(other.parent)!r}, "/proc/1/root{other}", "/box/secret", "/box/../box/secret"):
    if os.path.exists(path):
        print(path)
""")


def test_links_lead_to_nothing_of_the_host_s(contains):
    contains("""
import os
for number, target in enumerate(["/etc/passwd", "/proc/1/root/root", "/proc/1/cwd/../etc/shadow"]):
    name = f"/tmp/link{number}"
    os.symlink(target, name)
    try:
        print(open(name).read())
    except OSError:
        pass
for target in ("/box/link", "/link", "/usr/link", "/dev/link"):
    try:
        os.symlink("/etc/passwd", target)
        print(target)
    except OSError:
        pass
try:
    os.link("/usr/bin/env", "/tmp/hard")
    print("hard link")
except OSError:
    pass
""")


def test_nothing_outside_tmp_can_be_written(contains):
    contains("""
import os
places = ["/", "/usr", "/usr/bin", "/usr/local", "/etc", "/box", "/dev", "/proc", "/proc/sys/kernel", "/var/tmp"]
for place in places:
    try:
        open(place + "/probe", "w")
        print(place)
    except OSError:
        pass
for path in ("/input", "/box/main.py", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches",
             "/proc/sysrq-trigger", "/proc/1/oom_score_adj", "/proc/self/uid_map",
             "/proc/self/setgroups", "/usr/bin/env"):
    for how in ("r+", "w", "a"):
        try:
            with open(path, how) as file:
                file.write("-1000" if path.endswith("adj") else "x")
            print(path, how)
        except (OSError, ValueError):
            pass
for call in (lambda: os.chmod("/box/main.py", 0o777), lambda: os.remove("/box/main.py"),
             lambda: os.rename("/box", "/b"), lambda: os.chown("/tmp", 0, 0),
             lambda: os.mknod("/tmp/n", 0o60666, os.makedev(8, 0)), lambda: os.chroot("/tmp"),
             lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: os.nice(-5)):
    try:
        call()
        print("done")
    except OSError:
        pass
""")


def test_a_program_with_the_set_user_bit_gives_no_rights(contains):
    contains("""
import os, shutil
shutil.copy("/usr/bin/id", "/tmp/id")
os.chmod("/tmp/id", 0o6755)
print(os.popen("/tmp/id -u").read())
""", expected="65534")  # fmt: skip


# --- other processes -----------------------------------------------------------------------------


def test_guessed_process_ids_reach_nobody(contains):
    contains("""
import os, signal
for pid in list(range(2, 5000)) + [2**15, 2**22 - 1]:
    if pid == os.getpid():
        continue
    for number in (0, signal.SIGKILL):
        try:
            os.kill(pid, number)
            print(pid, number)
        except OSError:
            pass
for number in (9, 15, 19, 6, 1):
    os.kill(1, number)  # the guard: the kernel keeps a namespace's first process from its own kind
""")


def test_who_overwrites_its_guard_fails(contains, sandbox):
    source = """
import re
for line in open("/proc/1/maps"):
    start, end, rights = re.match("(.*?)-(.*?) (....)", line).groups()
    if "w" in rights or "x" in rights:
        with open("/proc/1/mem", "r+b", buffering=0) as memory:
            memory.seek(int(start, 16))
            memory.write(b"\\xcc" * (int(end, 16) - int(start, 16)))
"""
    assert judged(sandbox, source).verdict == "RTE"


CALLS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    found = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    return ctypes.get_errno() if found == -1 else 0
buffer = ctypes.create_string_buffer(4096)
"""
EPERM, ENOSYS = 1, 38
# numbers of x86-64
FORBIDDEN_CALLS = {
    "ptrace(PTRACE_ATTACH, 1)": ("101, 16, 1, 0, 0", EPERM),
    "ptrace(PTRACE_TRACEME)": ("101, 0, 0, 0, 0", EPERM),
    "process_vm_readv": ("310, 1, buffer, 1, buffer, 1, 0", EPERM),
    "process_vm_writev": ("311, 1, buffer, 1, buffer, 1, 0", EPERM),
    "unshare(CLONE_NEWUSER)": ("272, 0x10000000", EPERM),
    "unshare(CLONE_NEWNET)": ("272, 0x40000000", EPERM),
    "clone(CLONE_NEWUSER)": ("56, 0x10000000 | 17, 0, 0, 0, 0", EPERM),
    "clone(CLONE_NEWPID | CLONE_NEWNS)": ("56, 0x20020000 | 17, 0, 0, 0, 0", EPERM),
    "clone3": ("435, buffer, 88", ENOSYS),
    "setns": ("308, 0, 0", EPERM),
    "mount": ("165, buffer, buffer, buffer, 0, 0", EPERM),
    "umount2": ("166, buffer, 0", EPERM),
    "pivot_root": ("155, buffer, buffer", EPERM),
    "open_tree": ("428, -100, buffer, 0", EPERM),
    "fsopen": ("430, buffer, 0", EPERM),
    "keyctl": ("250, 0, -3, 0", EPERM),
    "add_key": ("248, buffer, buffer, buffer, 1, -3", EPERM),
    "bpf": ("321, 0, buffer, 64", EPERM),
    "perf_event_open": ("298, buffer, 0, -1, -1, 0", EPERM),
    "userfaultfd": ("323, 0", EPERM),
    "io_uring_setup": ("425, 8, buffer", ENOSYS),
    "io_uring_enter": ("426, 0, 1, 1, 0, 0", ENOSYS),
    "open_by_handle_at": ("304, -100, buffer, 0", EPERM),
    "kexec_load": ("246, 0, 0, 0, 0", EPERM),
    "init_module": ("175, buffer, 0, buffer", EPERM),
    "reboot": ("169, 0, 0, 0", EPERM),
    "pidfd_getfd": ("438, 0, 0, 0", EPERM),
    "sethostname": ("170, buffer, 1", EPERM),
    "ioctl(TIOCSTI)": ("16, 0, 0x5412, buffer", EPERM),
    "ioctl(TIOCSTI) with more bits": ("16, 0, 0x100005412, buffer", EPERM),
    "socket(AF_NETLINK)": ("41, 16, 3, 0", EPERM),
    "socket(AF_PACKET)": ("41, 17, 3, 0", EPERM),
    "socket(AF_VSOCK)": ("41, 40, 1, 0", EPERM),
    "socket(AF_ALG)": ("41, 38, 5, 0", EPERM),
    "socket(AF_VSOCK) with more bits": ("41, 0x100000028, 1, 0", EPERM),
}
on_x86_64 = pytest.mark.parametrize("machine", ["x86_64"] if platform.machine() == "x86_64" else [])


@on_x86_64
def test_calls_that_lead_out_are_denied(contains, machine):
    lines = [f"print({name!r}, call({arguments}))" for name, (arguments, _) in FORBIDDEN_CALLS.items()]
    expected = [f"{name} {number}" for name, (_, number) in FORBIDDEN_CALLS.items()]
    contains(CALLS + "\n".join(lines), expected="\n".join(expected))


MACHINE_CODE = """
import ctypes, mmap
code = bytes.fromhex("{}")
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
print(ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""


@on_x86_64
@pytest.mark.parametrize(
    "code",
    [
        "b814000000cd80c3",  # mov eax, 20 (32-bit getpid); int 0x80; ret
        "b8270000400f05c3",  # mov eax, 0x40000027 (x32 getpid); syscall; ret
    ],
)
def test_calls_of_another_architecture_end_the_program(contains, sandbox, machine, code):
    result = sandbox.run(["python3", "-c", MACHINE_CODE.format(code)])
    assert (result.status, result.stdout) == ("rte", b"")
    assert result.signal in (31, 11)  # SIGSYS, or SIGSEGV where the kernel has no 32-bit calls at all
    # The page itself may run: the same with an ordinary call.
    ordinary = "b8270000000f05c3"
    assert sandbox.run(["python3", "-c", MACHINE_CODE.format(ordinary)]).status == "ok"


def test_a_crash_starts_nothing_on_the_machine(contains, sandbox):
    """A core limit of 1 byte keeps the kernel from writing one and from starting a handler, and cannot be raised."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    contains(
        """
import resource
print(resource.getrlimit(resource.RLIMIT_CORE)[0])
for limits in ((0, 0), (1, 1), (0, resource.RLIM_INFINITY), resource.getrlimit(resource.RLIMIT_CORE)):
    for call in (lambda: resource.setrlimit(resource.RLIMIT_CORE, limits),
                 lambda: resource.prlimit(0, resource.RLIMIT_CORE, limits),
                 lambda: resource.prlimit(1, resource.RLIMIT_CORE, limits)):
        try:
            call()
            print("set")
        except (OSError, ValueError):
            pass
print(resource.prlimit(0, resource.RLIMIT_CORE)[0])
""",
        expected="1 1",
    )
    assert resource.getrlimit(resource.RLIMIT_CORE) == before
    assert sandbox.run(["python3", "-c", "import os; os.abort()"]).signal == 6


def test_limits_of_a_program_are_those_of_its_run(sandbox, sampled):
    source = """
import resource
for name in "CPU FSIZE NOFILE STACK NPROC".split():
    print(resource.getrlimit(getattr(resource, "RLIMIT_" + name)))
"""
    limits = Limits(cpu_s=2.5, output_kb=100, file_mb=3, open_files=99, memory_mb=77, processes=33)
    with sandbox.box() as box:
        found = box.run(["python3", "-c", source], limits=limits).stdout.decode().splitlines()
    assert found[:4] == ["(4, 4)", str((3 * 2**20 + 512,) * 2), "(99, 99)", str((77 * 2**20,) * 2)]
    with sampled.box() as box:
        found = box.run(["python3", "-c", source], limits=limits).stdout.decode().splitlines()
    assert found[4] == "(34, 34)"


def test_memory_of_no_process_is_denied_where_only_processes_are_counted(sampled):
    source = """
import os
try:
    os.memfd_create("x")
except OSError as error:
    print(error.errno)
"""
    assert judged(sampled, source, expected="38").verdict == "AC"


def test_memory_of_no_process_is_counted_where_groups_count(sandbox):
    if sandbox.meters.kind == "sampler":
        pytest.skip("needs a writable control group")
    source = "import os\nfile = os.memfd_create('x')\nwhile True:\n    os.write(file, bytes(1 << 20))"
    with sandbox.box() as box:
        result = box.run(["python3", "-c", source], limits=Limits(memory_mb=64, output_kb=1 << 20))
    assert result.status == "mle"


# --- network -------------------------------------------------------------------------------------


def test_no_address_can_be_reached_and_no_name_resolved(contains):
    with (
        socket.create_server(("127.0.0.1", 0)) as ours,
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        datagrams.bind(ours.getsockname())
        datagrams.setblocking(False)
        abstract.bind(f"\0firsthand-{os.getpid()}")
        abstract.listen()
        port = ours.getsockname()[1]
        contains(f"""
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", {port})), (socket.AF_INET, ("1.1.1.1", 53)),
                        (socket.AF_INET, ("169.254.169.254", 80)), (socket.AF_INET6, ("2606:4700:4700::1111", 53)),
                        (socket.AF_UNIX, "\\0firsthand-{os.getpid()}"),
                        (socket.AF_UNIX, "/run/dbus/system_bus_socket")):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            with socket.socket(family, kind) as one:
                one.settimeout(1)
                one.connect(address)
                one.send(b"x")
                if address[0] != "127.0.0.1" or kind == socket.SOCK_STREAM:  # the box has a loopback of its own
                    print(address, kind)
        except OSError:
            pass
for name in ("example.org", "localhost.localdomain"):
    try:
        print(socket.getaddrinfo(name, 80))
    except OSError:
        pass
try:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
    print("raw")
except OSError:
    pass
""", time_ms=5000)  # fmt: skip
        with pytest.raises(BlockingIOError):
            datagrams.recv(1)


def test_a_server_inside_is_nobody_s_but_its_own(contains):
    contains("""
import socket, threading
with socket.create_server(("127.0.0.1", 0)) as server:
    threading.Thread(target=lambda: server.accept()[0].sendall(b"own"), daemon=True).start()
    print(socket.create_connection(server.getsockname()).recv(3))
""", expected="b'own'")  # fmt: skip


# --- compilers -----------------------------------------------------------------------------------

COMPILER_BOMBS = {
    "template recursion": ("cpp", "template<int N> struct A { A<N + 1> a; };\nA<0> a;\nint main() {}"),
    "template explosion": (
        "cpp",
        "template<int N, int M> struct A { static const int v = A<N - 1, 2 * M>::v + A<N - 1, 2 * M + 1>::v; };\n"
        "template<int M> struct A<0, M> { static const int v = 1; };\nint main() { return A<28, 0>::v; }",
    ),
    "constant that takes for ever": (
        "cpp",
        "constexpr int f() { int s = 0; for (long i = 0; i < 1L << 40; i++) s ^= i; return s; }\n"
        "constexpr int g = f();\nint main() { return g; }",
    ),
    "huge array": ("c", "int a[1 << 29] = {1};\nint main(void) { return a[5]; }"),
    "endless file": ("c", '#include "/dev/zero"\nint main(void) { return 0; }'),
    "random file": ("c", '#include "/dev/urandom"\nint main(void) { return 0; }'),
    "itself": ("c", '#include "/box/main.c"\nint main(void) { return 0; }'),
    "macros that double": (
        "c",
        "#define A0 1,1,1,1,1,1,1,1\n"
        + "".join(f"#define A{n} A{n - 1} A{n - 1} A{n - 1} A{n - 1}\n" for n in range(1, 15))
        + "int a[] = {A14};\nint main(void) { return 0; }",
    ),
    "host's file": ("c", '#include "/etc/passwd"\nint main(void) { return 0; }'),
    "host's file as data": ("c", '__asm__(".incbin \\"/etc/shadow\\"");\nint main(void) { return 0; }'),
    "huge error text": ("c", "\n".join(f'#warning "{"x" * 300} {n}"' for n in range(150)) + "\nint main(void) { oops"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPILER_BOMBS)
def test_compiler_bombs(contains, sandbox, monkeypatch, name):
    quick = Limits(cpu_s=0.5, wall_s=20, memory_mb=192, processes=64, output_kb=4096, file_mb=32)
    monkeypatch.setattr("firsthand.evaluation.codearena.grading.grading.COMPILE_LIMITS", quick)
    slug, source = COMPILER_BOMBS[name]
    grade = judged(sandbox, source, slug=slug)
    assert grade.verdict == "CE", grade
    assert grade.cases == ()
    assert 0 < len(grade.message) < 10_000
    assert "root:" not in grade.message


def test_a_compiler_s_standard_input_is_empty(contains):
    contains('#include "/dev/stdin"\nint main(void) { return 0; }', slug="c", stdin="not the compiler's")


def test_a_compiler_s_child_does_not_stay(contains, sandbox):
    """What a compiler is made to start is gone with it."""
    word = long_time()
    with sandbox.box() as box:
        result = box.run(["/bin/sh", "-c", f"setsid sleep {word} & echo made"], stdout_to="program")
    assert result.status == "ok"
    wait_until(lambda: not running(word))
