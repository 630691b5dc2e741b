"""What processes have spent: CPU in nanoseconds, as the scheduler counts it, and memory."""

import os
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


def family(processes):
    """The IDs of processes and of all that they started."""
    found, waiting = [], [process.pid for process in processes]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                waiting += [int(child) for child in children.read_text().split()]
            except OSError:
                continue
    return found


def cpu(processes):
    """Nanoseconds on a CPU, by thread."""
    spent = {}
    for pid in family(processes):
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                spent[thread.parent.name] = int(thread.read_text().split()[0])
            except (OSError, IndexError):
                # It has ended in this moment.
                continue
    return spent


def between(before, after):
    """Nanoseconds between two readings. A thread that has ended since is left out: those here last."""
    return sum(spent - before.get(thread, 0) for thread, spent in after.items())


def memory(processes):
    """Megabytes of resident memory."""
    pages = 0
    for pid in family(processes):
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * PAGE / 1_000_000
