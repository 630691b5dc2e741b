"""What a run was made on and with, for the head of its table."""

import os
import platform
import subprocess
from pathlib import Path


def facts(options, peers):
    """Pairs of a name and what it is."""
    found = [
        ("CPU", f"{_processor()}, {os.cpu_count()} cores"),
        ("Kernel", f"{platform.system()} {platform.release()}"),
        ("System", _system()),
        ("Commit", _commit(options.repository)),
        ("Rounds", f"{options.rounds} of {options.seconds} s"),
        ("Load at the end", f"{os.getloadavg()[0]:.1f} over one minute"),
    ]
    versions = {}
    for peer in peers:
        try:
            version = peer.version()
        except OSError:
            continue
        if version:
            versions.setdefault(version, peer.name)
    found.append(("Versions", "; ".join(versions)))
    return found


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system():
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.platform()


def _commit(repository):
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=repository, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
