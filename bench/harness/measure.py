"""Measures linkgate beside its peers, in rounds that take turns; `bench/run` prepares everything and calls this.

Whatever drifts while it runs (the machine's clock, its temperature, what others do) meets every peer alike, because each
round has one sample of each and begins with another one.
"""

import argparse
import fnmatch
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import load
import machine
import peers
import plot
import spent
import table
from answers import ask, check, request_fields
from peer import Setting, Tls, Unavailable, free_ports, pinned, stop, wait_for
from tokens import openssl

# In the order of the table.
MODES = ("keep-alive", "new-connections", "rate", "tls-h2", "large", "websocket", "routes", "sessions", "login")

# What the load itself needs.
PACKAGES = (("wrk", "wrk"), ("h2load", "nghttp2-client"), ("openssl", "openssl"), ("taskset", "util-linux"))

# Seconds of load before the first round. Of many sessions, all that are in use must have been loaded once, for which there
# are a few longer ones on a slow disk; where even they are too short, the first rounds load the rest.
WARM_UP = 1
LONG_WARM_UP = 20
MOST_LONG_WARM_UPS = 5

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Options:
    """What was asked for, and where things are."""

    rounds: int
    seconds: int
    peers: list
    modes: list
    linkgate: Path
    bare: Path
    out: Path
    repository: Path = REPOSITORY
    # What is made once and kept: Envoy, stores that were filled.
    kept: Path = REPOSITORY / "target/bench"

    def program(self, name):
        return self.repository / "target/release" / name


def main():
    arguments = read_arguments()
    options = Options(
        rounds=2 if arguments.quick else arguments.rounds,
        seconds=2 if arguments.quick else arguments.seconds,
        peers=listed(arguments.peers),
        modes=listed(arguments.modes) or list(MODES),
        linkgate=arguments.linkgate.resolve(),
        bare=arguments.bare.resolve(),
        out=REPOSITORY / "bench/out",
    )
    unknown = [mode for mode in options.modes if mode not in MODES]
    if unknown:
        sys.exit(f"error: there is no mode {', '.join(unknown)}\nhint: the modes are {', '.join(MODES)}")
    chosen = [peer for peer in peers.every(options) if is_chosen(peer, options)]
    if not chosen:
        sys.exit("error: no peer has such a name and one of these modes\nhint: `bench/run --list` shows them")
    if arguments.list:
        for peer in chosen:
            print(f"{peer.name}: {', '.join(mode for mode in MODES if mode in peer.modes)}")
        return
    if arguments.packages:
        print(*(word for pair in dict.fromkeys((*PACKAGES, *(pair for peer in chosen for pair in peer.packages))) for word in pair))
        return
    # Whoever ends the run, all that it started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    run = Run(options)
    try:
        for mode in options.modes:
            run.measure(mode, [peer for peer in chosen if mode in peer.modes])
    finally:
        run.end(chosen)
    for (mode, name), failure in run.failures.items():
        print(f"error: {name} in {mode}: {failure}", file=sys.stderr)
    sys.exit(1 if run.failures else 0)


def read_arguments():
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=8, help="samples of each peer in each mode (8)")
    parser.add_argument("--seconds", type=int, default=5, help="length of a sample (5)")
    parser.add_argument("--peers", default="", help="names, by commas; * fits anything (all)")
    parser.add_argument("--modes", default="", help=f"by commas, of {', '.join(MODES)} (all)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 2 s, to see that all works")
    parser.add_argument("--list", action="store_true", help="only name the peers with their modes")
    release = REPOSITORY / "target/release"
    parser.add_argument("--linkgate", type=Path, default=os.environ.get("LINKGATE") or release / "linkgate", help="another build of linkgate")
    parser.add_argument("--bare", type=Path, default=release / "bare", help="another build of the bare pass-through")
    # For bench/run: the commands that are needed, each with its Debian package.
    parser.add_argument("--packages", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.linkgate = Path(arguments.linkgate)
    if arguments.rounds < 1 or arguments.seconds < 1:
        parser.error("there is at least one round of one second")
    return arguments


def listed(text):
    return [part.strip() for part in text.split(",") if part.strip()]


def is_chosen(peer, options):
    """Commas of a name are left out, as they part the names that are asked for."""
    name = peer.name.replace(",", "")
    fits = not options.peers or any(fnmatch.fnmatchcase(name, pattern) for pattern in options.peers)
    return fits and any(mode in peer.modes for mode in options.modes)


class Run:
    """One run of the benchmark, with what came of it so far."""

    def __init__(self, options):
        self.options = options
        self.samples = []
        # By mode and peer: why it was left out, by its own fault. By peer: why it cannot be measured here.
        self.failures = {}
        self.absent = {}
        self.folder = Path(tempfile.mkdtemp(prefix="linkgate-bench-"))
        # Workers of some peers are another user's, and must find their files.
        self.folder.chmod(0o755)
        self.tls = make_certificate(self.folder)
        self.fields = {}
        self._start_upstream()

    def _start_upstream(self):
        (port,) = free_ports(1)
        self.upstream = f"127.0.0.1:{port}"
        self.upstream_process = subprocess.Popen(
            pinned(0, [str(self.options.program("upstream")), self.upstream]), start_new_session=True
        )
        wait_for(port, [self.upstream_process])

    def measure(self, mode, candidates):
        """Starts all that have this mode, and has them take turns."""
        running = []
        try:
            for peer in candidates:
                if self.starts(mode, peer):
                    running.append(peer)
            self._take_turns(mode, running)
        finally:
            for peer in running:
                peer.stop()
        self.write()

    def starts(self, mode, peer):
        """Starts a peer and checks it. One that fails is named, with the end of its log, and left out."""
        setting = Setting(
            directory=self.folder / f"{mode}-{peer.name}".replace(" ", "-").replace(",", ""),
            ports=free_ports(3),
            upstream=self.upstream,
            tls=self.tls if mode == "tls-h2" else None,
        )
        say(f"{mode}: {peer.name} starts")
        try:
            peer.start(setting)
            self.fields[peer] = request_fields(peer, peer.credential())
            check(peer, self.fields[peer])
            return True
        except Unavailable as reason:
            self.absent[peer.name] = str(reason)
        except Exception as failure:
            self._fail(mode, peer, failure)
        peer.stop()
        return False

    def _fail(self, mode, peer, failure):
        self.failures[mode, peer.name] = f"{type(failure).__name__}: {failure}"
        say(f"{peer.name} is left out of {mode}: {self.failures[mode, peer.name]}")
        for line in log_end(peer):
            say(f"  {line}")

    def _take_turns(self, mode, running):
        rounds, seconds = self.options.rounds, self.options.seconds
        turns = [(round, peer) for round in range(rounds) for peer in rotated(running, round)]
        for peer in running:
            try:
                self._warm_up(mode, peer)
            except Exception as failure:
                self._fail(mode, peer, failure)
        began = time.monotonic()
        for done, (round, peer) in enumerate(turns):
            each = (time.monotonic() - began) / done if done else seconds + 0.2
            left = each * (len(turns) - done)
            say(f"{mode}: round {round + 1} of {rounds}, {peer.name}; {left // 60:.0f} min {left % 60:.0f} s left of this mode")
            if (mode, peer.name) in self.failures:
                continue
            try:
                self.samples.append(self._sample(mode, peer, round))
            except Exception as failure:
                self._fail(mode, peer, failure)

    def _warm_up(self, mode, peer):
        for seconds in (WARM_UP, *[LONG_WARM_UP] * MOST_LONG_WARM_UPS):
            # Each time begins with the first of the sessions.
            if load.run(mode, peer, self.fields[peer], seconds, self.options)["requests"] >= peer.in_use:
                break

    def _sample(self, mode, peer, round):
        if peer.renews:
            self.fields[peer] = request_fields(peer, peer.credential())
        before = spent.cpu(peer.processes)
        said = load.run(mode, peer, self.fields[peer], self.options.seconds, self.options)
        used = spent.between(before, spent.cpu(peer.processes))
        memory = spent.memory(peer.processes)
        if said["requests"] == 0:
            raise RuntimeError("no request was answered")
        # The tools count a redirect to a sign-in page as an answer, so the credential must still be good.
        status, _ = ask(peer.setting, "/", self.fields[peer])
        if status != 200:
            raise RuntimeError(f"it answered {status} after the load")
        return {
            "mode": mode,
            "peer": peer.name,
            "round": round,
            "requests": said["requests"],
            "errors": said["errors"],
            "seconds": said["seconds"],
            "cpu_us": used / 1000 / said["requests"],
            "rps": said["requests"] / said["seconds"],
            "p50_us": said["p50_us"],
            "p99_us": said["p99_us"],
            "p999_us": said["p999_us"],
            "rss_mb": memory,
        }

    def write(self):
        """Writes what there is so far, so that a run that is broken off has its samples."""
        out = self.options.out
        out.mkdir(parents=True, exist_ok=True)
        (out / "samples.json").write_text(json.dumps(self.samples, indent=1) + "\n")
        if self.samples:
            everybody = peers.every(self.options)
            failed = {f"{name} in {mode}": failure for (mode, name), failure in self.failures.items()}
            head = machine.facts(self.options, everybody)
            (out / "table.md").write_text(table.text(head, self.samples, self.absent | failed))
            plot.write(self.samples, out / "plot.svg", frozenset(peer.name for peer in everybody if not peer.authenticates))

    def end(self, chosen):
        for peer in chosen:
            peer.stop()
        stop(self.upstream_process)
        shutil.rmtree(self.folder, ignore_errors=True)


def rotated(running, round):
    """The peers in another order each round."""
    at = round % len(running) if running else 0
    return running[at:] + running[:at]


def make_certificate(folder):
    certificate, key, both = folder / "certificate.pem", folder / "key.pem", folder / "both.pem"
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", key, "-out", certificate,
    )
    both.write_text(certificate.read_text() + key.read_text())
    return Tls(certificate, key, both)


def log_end(peer):
    try:
        return peer.log.read_text(errors="replace").splitlines()[-8:]
    except (OSError, AttributeError):
        return []


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
