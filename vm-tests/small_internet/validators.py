"""Resolvers that validate and are asked all the time: unbound on the laptop, once forgetting everything at once and once
keeping what it heard for as long as it may. Their clock is turned with that of the role that signs."""

import os
import re
import threading
import time

from .shell import run

CONF = """\
server:
    interface: 127.0.0.1@{port}
    directory: "/etc/unbound"
    username: ""
    chroot: ""
    pidfile: "/run/validator-{port}.pid"
    use-syslog: no
    logfile: "/var/log/validator-{port}.log"
    num-threads: 1
    module-config: "validator iterator"
    trust-anchor-file: "/usr/share/dns/root.key"
    root-hints: "/usr/share/dns/root.hints"
    val-log-level: 2
    val-bogus-ttl: 0
    # To the second, where unbound would let a day pass.
    val-sig-skew-min: 0
    val-sig-skew-max: 0
    infra-host-ttl: 2
    # The small internet's roots have records for some seconds only; what the box says is kept as it wants.
    {cache}
    {clock}
remote-control:
    control-enable: yes
    control-interface: /run/validator-{port}.ctl
"""

FORGETS = "cache-max-ttl: 0\n    cache-max-negative-ttl: 0\n    key-cache-size: 0"
KEEPS = "cache-min-ttl: 0"
PORTS = {5301: FORGETS, 5302: KEEPS}


class Validators(threading.Thread):
    """Asks both of them for everything in `questions` (name, type) once a second, until `close`. `wrong` collects what was
    not a validated answer."""

    def __init__(self, laptop, questions):
        super().__init__(daemon=True)
        self._laptop, self._questions = laptop, questions
        self._asking, self._ended = threading.Lock(), threading.Event()
        self.rounds, self.wrong = 0, []
        self.turn(0)
        for port in PORTS:
            laptop.run("unbound", "-c", f"/etc/validator-{port}.conf")
        self.start()

    def turn(self, seconds):
        """That far in the future; what was kept is forgotten, since every TTL is shorter than a turn."""
        stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() + seconds))
        clock = f'val-override-date: "{stamp}"' if seconds else ""
        with self._asking:
            for port, cache in PORTS.items():
                conf = f"/etc/validator-{port}.conf"
                self._laptop.write(conf, CONF.format(port=port, cache=cache, clock=clock))
                if self.rounds:
                    self._laptop.run("unbound-control", "-q", "-c", conf, "reload")

    def run(self):
        while not self._ended.is_set():
            with self._asking:
                for port in PORTS:
                    self._ask(port)
                self.rounds += 1
            self._ended.wait(1)

    def _ask(self, port):
        words = [word for name, kind in self._questions for word in (name, kind)]
        said = self._laptop.run("dig", "@127.0.0.1", "-p", str(port), "+dnssec", "+time=5", "+tries=1", *words, check=False)
        heads = re.findall(r"status: (\w+), id.*\n;; flags:([a-z ]*);", said.out)
        good = [status in ("NOERROR", "NXDOMAIN") and "ad" in flags.split() for status, flags in heads]
        if len(good) != len(self._questions) or not all(good):
            log = self._laptop.run("tail", "-n", "5", f"/var/log/validator-{port}.log", check=False).out
            self.wrong.append(f"{port}: {heads}\n{log}")

    def more(self, rounds, timeout=60):
        """Waits for that many further rounds of questions; says how many there were."""
        wanted, end = self.rounds + rounds, time.monotonic() + timeout
        while self.rounds < wanted and time.monotonic() < end:
            time.sleep(0.2)
        return self.rounds - wanted + rounds

    def close(self):
        self._ended.set()
        self.join(30)
        for port in PORTS:
            self._laptop.run("unbound-control", "-q", "-c", f"/etc/validator-{port}.conf", "stop", check=False)


def as_a_parent_would(folder, domain, child, present, seconds):
    """The DS set that BIND's dnssec-cds, so far in the future, makes of a child's CDS and of the DS set that the parent has,
    after it verified the one by the other."""
    (folder / "child").write_text(child)
    (folder / "dsset").write_text("".join(f"{line}\n" for line in present))
    files = ["-f", folder / "child", "-d", folder / "dsset"]
    # Its own allocator, jemalloc, and libfaketime call each other without end.
    clock = {"LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1 libc.so.6", "FAKETIME": f"+{seconds}", "PATH": os.environ["PATH"]}
    return run(["dnssec-cds", "-a", "SHA-256", "-s", "-7200", *files, domain], check=False, env=clock, timeout=20)
