"""One control group per host, so that a host's limits are its own and its processes can be found and ended.

Knows the hybrid layout (a hierarchy per controller, as on older hosts) and the unified one.
"""

import os
import signal
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
HIERARCHIES = ("systemd", "unified", "memory", "pids", "cpu", "cpuacct")
DELEGATED = ("memory", "pids", "cpu", "cpuacct")


def _roots():
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return [ROOT / name for name in HIERARCHIES if (ROOT / name / "cgroup.procs").exists()]


def unified():
    return (ROOT / "cgroup.controllers").exists()


def usable():
    return bool(_roots()) and os.access(_roots()[0], os.W_OK)


def create(name, ram):
    """Makes the groups; returns the `cgroup.procs` files into which a launcher writes its pid."""
    folders = [root / name for root in _roots()]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for limit in ("memory.limit_in_bytes", "memory.max"):
            if (folder / limit).exists() and ram:
                (folder / limit).write_text(ram)
    return [folder / "cgroup.procs" for folder in folders]


def names(prefix):
    return sorted({folder.name for root in _roots() for folder in root.glob(prefix + "*")})


def pids(name):
    found = set()
    for root in _roots():
        for procs in [root / name / "cgroup.procs", *(root / name).rglob("cgroup.procs")]:
            try:
                found |= {int(word) for word in procs.read_text().split()}
            except OSError:
                continue
    return found


def kill_and_remove(name, patience=10):
    """Ends every process of the group, below it too, and removes the folders."""
    end = time.monotonic() + patience
    while (left := pids(name)) and time.monotonic() < end:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)
    for root in _roots():
        for folder, _, _ in os.walk(root / name, topdown=False):
            _rmdir(folder, end)


def _rmdir(folder, end):
    while True:
        try:
            os.rmdir(folder)
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > end:
                return
            time.sleep(0.05)
