"""Full runs of the status checks, nothing kept: wall time, peak memory of the process, and the slowest of them."""

import json
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))

RUNS = 5
SLOWEST = 10
AIM = 3.0

# Starts a command, and prints its seconds and its peak memory in KiB. VmHWM belongs to the program alone; ru_maxrss would count
# what Python had before it started it.
WATCHED = r"""
import json, re, subprocess, sys, time
began, peak = time.monotonic(), 0
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while child.poll() is None:
    try:
        found = re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{child.pid}/status").read())
        peak = max(peak, int(found.group(1))) if found else peak
    except OSError:
        pass
    time.sleep(0.004)
print(json.dumps([time.monotonic() - began, peak, child.returncode]))
"""


def slowest(results):
    """The slowest checks of a run: `id seconds`."""
    results = sorted(results, key=lambda result: -result["took_ms"])
    return ", ".join(f"{result['id']} {result['took_ms'] / 1000:.2f} s" for result in results[:SLOWEST])


def rows(name, runs, results):
    took, peak = statistics.median(run[0] for run in runs), max(run[1] for run in runs)
    states = {}
    for result in results:
        states[result["state"]] = states.get(result["state"], 0) + 1
    in_words = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return [
        (f"**{name}**: a full run, median of {len(runs)}", f"**{took:.2f} s** (longest {max(run[0] for run in runs):.2f} s)"),
        ("- peak memory of the process", f"{peak / 1024:.1f} MiB"),
        (f"- {len(results)} checks", in_words),
        (f"- the {SLOWEST} slowest", slowest(results)),
    ]


def watched(run, command):
    """`run` gives what the script prints where the command is to run."""
    took, peak, code = json.loads(run(["python3", "-c", WATCHED, *command]))
    if code != 0:
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    return took, peak


def demo(name, program, runs, *options):
    from outside.box import Box

    with tempfile.TemporaryDirectory(prefix="mailstead-bench-") as folder:
        box = Box(folder, program, *options).start()
        try:
            checks = Path(folder) / "var/lib/mailstead/checks"
            box.run("facts")
            taken = []
            for _ in range(runs):
                (checks / "results.json").unlink(missing_ok=True)
                here = lambda words: subprocess.run(words, capture_output=True, text=True, check=True).stdout  # noqa: E731
                taken.append(watched(here, [str(program), "--box", folder, "run", "checks"]))
            return rows(name, taken, json.loads((checks / "results.json").read_text()))
        finally:
            box.stop()


def demos(program):
    found = demo("a demo box", program, RUNS)
    # It takes every question and answers none.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        found += demo("a demo box whose resolver never answers", program, 1, "--resolver", f"127.0.0.1:{silent.getsockname()[1]}")
    return found


def in_box(owner, name, runs=RUNS):
    """On a whole host, as its service runs it, with the facts that root collects before."""
    folder = "/var/lib/mailstead/checks"
    there = lambda words: owner.box.run(*words, timeout=120).out  # noqa: E731
    taken, facts = [], []
    as_checks = "setpriv --reuid=ms-checks --regid=ms-checks --init-groups /opt/mailstead/current/mailstead run checks".split()
    for _ in range(runs):
        there(["rm", "-f", f"{folder}/results.json"])
        facts.append(watched(there, ["/opt/mailstead/current/mailstead", "facts"]))
        taken.append(watched(there, as_checks))
    collected = statistics.median(run[0] for run in facts)
    return rows(name, taken, json.loads(owner.box.read(f"{folder}/results.json"))) + [("- what root collects before", f"{collected:.2f} s")]


def whole_host(owner):
    found = in_box(owner, "a whole host")
    # Who asks is not refused, and hears nothing; the box's own resolver and name server are there.
    owner.box.run("nft", "add table inet bench; add chain inet bench in { type filter hook input priority -10; }; "
                  "add rule inet bench in iifname != lo udp sport 53 drop; add rule inet bench in iifname != lo tcp sport 53 drop")
    owner.box.run("systemctl", "restart", "unbound.service")
    found += in_box(owner, "a whole host that gets no answer from any name server", 1)
    owner.box.run("systemctl", "kill", "--signal=STOP", "nsd.service", "unbound.service")
    return found + in_box(owner, "a whole host whose own resolver and name server hang", 1)
