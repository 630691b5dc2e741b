"""What every peer of the benchmark is: how it is started, whom it lets in, and whose CPU and memory count for it.

A module in `peers/` has `peers(options)`, which gives its peers; nothing else needs to know of it.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

# The modes that send the same request over HTTP/1.1 without TLS, which every proxy can serve.
PLAIN = frozenset({"keep-alive", "new-connections", "rate", "large"})
PATIENCE = 15

# Debian keeps servers where only root looks.
PATH = f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Tls:
    """A certificate for 127.0.0.1 and its key, in PEM. `both` has the one after the other, as HAProxy reads them."""

    certificate: Path
    key: Path
    both: Path


@dataclass(frozen=True)
class Setting:
    """What a peer is started with: a folder of its own, ports of its own, and where the upstream is."""

    directory: Path
    # Requests go to the first one.
    ports: list
    # As HOST:PORT.
    upstream: str
    # Set where the peer must speak TLS, with HTTP/2.
    tls: Tls = None

    @property
    def port(self):
        return self.ports[0]


class Unavailable(Exception):
    """Why a peer cannot be measured here, which is no fault of it."""


class Peer:
    """A proxy with one thread or its like, upstream connections that are kept, and no access log.

    A subclass has `launch`, and one that authenticates has `credential` and `identity` as well.
    """

    name = ""
    # Whether it must refuse who has no credential.
    authenticates = False
    modes = PLAIN
    # Pairs of a command that must be there and the Debian package that has it, as `need` of script/setup has them.
    packages = ()
    # Whether it gives visitors another credential now and then, so that each sample needs a new one.
    renews = False
    # How many sessions its requests are of.
    in_use = 1
    # A field of the request and its value, in which the upstream is told who is asking.
    identity = None
    # The host that visitors write, where a peer does not serve every one.
    host = None

    def __init__(self):
        self.processes = []
        self.helpers = []
        self.setting = None

    def start(self, setting):
        """Starts it. Gives the processes whose CPU and memory count, with those that they start themselves."""
        self.setting = setting
        setting.directory.mkdir(parents=True, exist_ok=True)
        self.launch(setting)
        for process in self.processes:
            if process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {process.returncode}")
        wait_for(setting.port, self.processes)
        return self.processes

    def launch(self, setting):
        """Writes its configuration and starts its processes by `spawn`."""
        raise NotImplementedError

    def credential(self):
        """Fields of a request that is signed in. It may ask the running peer for them."""
        return {}

    def version(self):
        """What this is, for the head of the table."""
        return ""

    def spawn(self, command, *, counts=True, core=1, environment=None):
        """Starts a program of the peer in its folder, with its output in `log`. With `counts`, its CPU is the peer's."""
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                pinned(core, [str(word) for word in command]),
                cwd=self.setting.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PATH": PATH, **(environment or {})},
            )
        (self.processes if counts else self.helpers).append(process)
        return process

    @property
    def log(self):
        return self.setting.directory / "log"

    def stop(self):
        """Ends everything that `spawn` started."""
        for process in self.processes + self.helpers:
            stop(process)
        self.processes, self.helpers = [], []


def stop(process):
    """Ends a process and all that it started; each was started in a session of its own."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            pass
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            continue
        # What it started may outlive it by a moment; what is left after that is ended without being asked.
        if how == signal.SIGTERM:
            time.sleep(0.1)


def pinned(core, command):
    """The command on one core, where there are several: 0 is for the load and the upstream, 1 for what is measured."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or shutil.which("taskset") is None:
        return command
    return ["taskset", "-c", str(cores[core]), *command]


def free_ports(count):
    """Ports where nobody listens, and which the system gives to nobody who asks for any port: it gives those from 32768."""
    ports = []
    while len(ports) < count:
        port = 10_000 + int.from_bytes(os.urandom(2), "big") % 22_000
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


def wait_for(port, processes=()):
    """Returns when somebody listens on a port."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            for process in processes:
                if process.poll() is not None:
                    raise RuntimeError(f"a process ended with {process.returncode} before it listened") from None
            if time.monotonic() > until:
                raise RuntimeError(f"nobody listens on port {port} after {PATIENCE} s") from None
            time.sleep(0.02)
