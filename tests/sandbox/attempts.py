# ruff: noqa: E501 - a table
"""What code in a sandbox tries in order to get out, to see, to harm or to take; each must fail, or be ended in words.

Each is a script of its own. `refused` ones print how the kernel said no: with `got` anything but that is an escape.
`contained` ones may do what they do; the sandbox ends them, or the machine does not notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NEVER_ENDS: Final = "did not finish"
"""Words for what runs until its time is over."""
PRELUDE: Final = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(number, *arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "done"
def empty(found):
    if found:
        return found
    raise FileNotFoundError("nothing there")
"""


@dataclass(frozen=True)
class Attempt:
    name: str
    code: str
    """An expression for `refused`, statements for `contained`."""
    words: str = ""
    """For `contained`: a part of what the owner is told; empty when it simply goes on or ends."""
    contained: bool = False


def refused(name: str, expression: str) -> Attempt:
    return Attempt(
        name,
        f"{PRELUDE}\ntry:\n    print('got', {expression})\nexcept BaseException as e:\n    print('refused', type(e).__name__, e)\n",
    )


def contained(name: str, statements: str, words: str = "") -> Attempt:
    return Attempt(name, f"{PRELUDE}\n{statements}\n", words, contained=True)


def attempts(secret: str, neighbour: int, agent_socket: str, tcp_port: int, abstract: str) -> tuple[Attempt, ...]:
    """`secret` is a file of the agent's, `neighbour` a process beside it, the others are listening outside."""
    x86 = (
        ("keyctl", "call(250, 0, -3, 1)"), ("add_key", "call(248, b'user', b'a', b'b', 1, -3)"),
        ("request_key", "call(249, b'user', b'a', 0, -3)"), ("io_uring_setup", "call(425, 8, ctypes.create_string_buffer(200))"),
        ("bpf", "call(321, 0, ctypes.create_string_buffer(120), 120)"), ("perf_event_open", "call(298, ctypes.create_string_buffer(120), 0, -1, -1, 0)"),
        ("userfaultfd", "call(323, 1)"), ("mount", "call(165, b'none', b'/tmp', b'tmpfs', 0, None)"),
        ("umount", "call(166, b'/proc', 2)"), ("unshare user", "call(272, 0x10000000)"), ("unshare net", "call(272, 0x40000000)"),
        ("setns", "call(308, os.open('/proc/self/ns/net', 0), 0)"), ("chroot", "call(161, b'/tmp')"),
        ("pivot_root", "call(155, b'/tmp', b'/tmp')"), ("clone with new namespaces", "call(56, 0x10000011, 0, 0, 0, 0)"),
        ("clone3", "call(435, ctypes.create_string_buffer(88), 88)"), ("ptrace", "call(101, 16, 1, 0, 0)"),
        ("process_vm_readv", "call(310, 1, None, 0, None, 0, 0)"), ("kcmp", "call(312, 1, 2, 0, 0, 0)"),
        ("pidfd_getfd", "call(438, os.pidfd_open(1), 0, 0)"), ("memfd_create", "call(319, b'a', 0)"),
        ("shmget", "call(29, 0, 1 << 30, 0o1600)"), ("mq_open", "call(240, b'a', 0o102, 0o600, None)"),
        ("open_by_handle_at", "call(304, -100, ctypes.create_string_buffer(64), 0)"), ("personality", "call(135, 0x0040000)"),
        ("init_module", "call(175, b'', 0, b'')"), ("kexec_load", "call(246, 0, 0, None, 0)"), ("reboot", "call(169, 0xfee1dead, 672274793, 0x89abcdef, 0)"),
        ("settimeofday", "call(164, ctypes.create_string_buffer(16), None)"), ("sethostname", "call(170, b'evil', 4)"),
        ("syslog", "call(103, 3, ctypes.create_string_buffer(64), 64)"), ("iopl", "call(172, 3)"), ("x32 calls", "call(0x40000000 + 41, 2, 1, 0)"),
        ("mknod device", "os.mknod('/bot/sda', 0o060600, os.makedev(8, 0))"), ("fanotify_init", "call(300, 0, 0)"), ("fsopen", "call(430, b'tmpfs', 0)"),
    )  # fmt: skip
    found = [refused(name, expression) for name, expression in x86]
    found += [
        refused("read the agent's secret", f"open({secret!r}).read()"),
        refused("read it by /proc/1/root", f"open('/proc/1/root' + {secret!r}).read()"),
        refused("read it through a link of its own", f"(os.symlink({secret!r}, '/bot/l'), open('/bot/l').read())"),
        refused("read it by climbing", f"open('/bot/../../../..' + {secret!r}).read()"),
        refused("read /etc/passwd", "open('/etc/passwd').read()"),
        refused("list /home", "os.listdir('/home')"),
        refused("find the node's own programs", "os.listdir('/farm/node_agent')"),
        refused("see other processes", "empty([p for p in os.listdir('/proc') if p.isdigit() and int(p) not in (1, os.getpid()) and int(p) > 9])"),
        refused("environment of the first process", "open('/proc/1/environ').read() and None or empty(open('/proc/1/environ').read().count('SECRET'))"),
        refused("secrets in its own environment", "empty([n for n in os.environ if 'SECRET' in n or 'TOKEN' in n or 'MT5FARM' in n])"),
        refused("kill a neighbour", f"os.kill({neighbour}, 9)"),
        refused("signal the agent", f"os.kill({neighbour}, 0)"),
        refused("become root", "os.setuid(0)"),
        refused("become another group", "os.setgroups([0])"),
        refused("raise a limit", "__import__('resource').setrlimit(__import__('resource').RLIMIT_NPROC, (9999, 9999))"),
        refused("be nicer to itself", "os.nice(-10)"),
        refused("any capability", "empty([l for l in open('/proc/self/status') if l.startswith(('CapEff', 'CapPrm', 'CapAmb')) and int(l.split()[1], 16)])"),
        refused("new privileges", "empty('NoNewPrivs:\\t0' in open('/proc/self/status').read())"),
        refused("TCP to this machine", f"socket.create_connection(('127.0.0.1', {tcp_port}), 2)"),
        refused("TCP over IPv6", f"socket.create_connection(('::1', {tcp_port}), 2)"),
        refused("UDP", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"),
        refused("raw socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
        refused("packet socket", "socket.socket(17, socket.SOCK_RAW, 3)"),
        refused("netlink", "socket.socket(16, socket.SOCK_RAW, 0)"),
        refused("vsock", "socket.socket(40, socket.SOCK_STREAM)"),
        refused("DNS", "socket.getaddrinfo('example.com', 80)"),
        refused("Unix socket of the agent", f"socket.socket(socket.AF_UNIX).connect({agent_socket!r})"),
        refused("abstract Unix socket", f"socket.socket(socket.AF_UNIX).connect('\\0' + {abstract!r})"),
        refused("write to the system", "open('/usr/lib/evil', 'w')"),
        refused("write to its code", "open('/code/main.py', 'a')"),
        refused("write to the library", "open('/farm/mt5_bridge/__init__.py', 'a')"),
        refused("write to the root", "open('/evil', 'w')"),
        refused("write to /dev", "open('/dev/evil', 'w')"),
        refused("write to a kernel setting", "open('/proc/sys/kernel/hostname', 'w').write('x')"),
        refused("sysrq", "open('/proc/sysrq-trigger', 'w').write('b')"),
        refused("a shell", "__import__('subprocess').run(['/bin/sh', '-c', 'id'])"),
        refused("a setuid program", "__import__('subprocess').run(['/usr/bin/su'])"),
        refused("block devices", "empty([d for d in os.listdir('/dev') if d.startswith(('sd', 'vd', 'nvme', 'kvm', 'mem', 'fuse'))])"),
        refused("a file of 1 GB", "open('/bot/big', 'wb').write(b'x' * 64_000_000) and None"),
        refused("fill /tmp", "[open(f'/tmp/{n}', 'wb').write(b'x' * 8_000_000) for n in range(10)]"),
        refused("fill /dev/shm", "[open(f'/dev/shm/{n}', 'wb').write(b'x' * 4_000_000) for n in range(4)]"),
        refused("2,000 open files", "[open('/dev/null') for n in range(2000)]"),
        refused("fork bomb", "[os.fork() or __import__('time').sleep(2) for n in range(100)]"),
        refused("thread bomb", "[__import__('threading').Thread(target=__import__('time').sleep, args=(2,)).start() for n in range(100)]"),
        refused("8 GB of address space", "__import__('mmap').mmap(-1, 8 << 30)"),
        contained("memory", "x = []\nwhile True: x.append(b'x' * 4_000_000)", "memory"),
        contained("memory in several processes", "import time\nfor n in range(5):\n    if os.fork() == 0: break\nx = b'x' * 300_000_000\ntime.sleep(30)", "memory"),
        contained("disk in many files", "for n in range(20): open(f'/bot/{n}', 'wb').write(b'x' * 8_000_000)\nimport time; time.sleep(30)", "files"),
        contained("many small files", "for n in range(3000): open(f'/bot/{n}', 'w')\nimport time; time.sleep(30)", "files"),
        contained("deep folders", "for n in range(3000):\n    os.mkdir('d'); os.chdir('d')\nimport time; time.sleep(30)", "files"),
        contained("never ends", "while True: pass", NEVER_ENDS),
        contained("ignores TERM", "import signal, time\nfor n in (1, 2, 3, 15): signal.signal(n, signal.SIG_IGN)\nwhile True: time.sleep(1)", NEVER_ENDS),
        contained("hides in a new session", "import time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\nwhile True: time.sleep(1)", NEVER_ENDS),
        contained("prints gigabytes", "while True: os.write(1, b'x' * 65536)", NEVER_ENDS),
        contained("prints without end of line", "while True: print('y' * 1000, end='')", NEVER_ENDS),
        contained("crashes the interpreter", "ctypes.string_at(0)"),
        contained("a deep recursion", "import sys\nsys.setrecursionlimit(10**8)\ndef f(): f()\nf()"),
    ]  # fmt: skip
    return tuple(found)
