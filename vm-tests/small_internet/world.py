"""The small internet as a whole: up, down, further boxes, snapshots of boxes.

All that a world has on the machine carries its name: namespaces and control groups `ms-NAME-…`, and one folder in the
cache with all mounts below it. So everything can be found and ended even when whoever started it is gone.
"""

import json
import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import authority, cgroups, dns, images, network, services, settings
from .hosts import Host
from .shell import WorldError, run, tail, wait_for

WORLD_NAME = re.compile(r"[a-z0-9]{1,12}")


class World:
    """A small internet by its name. Nothing happens before `up`; `down` may be called at any time."""

    def __init__(self, name="world", say=lambda text: None):
        if not WORLD_NAME.fullmatch(name):
            raise WorldError(f"a world's name is one to twelve of a-z and 0-9, not {name!r}")
        self.name, self._say = name, say
        self.folder = settings.CACHE / "worlds" / name
        self._authority = authority.Authority(self.folder / "authority")
        self.names = dns.Names(self.host("dns"), self.host("resolver"))

    # --- hosts

    def host(self, name):
        return Host(self.name, name, self.folder / "hosts" / name)

    @property
    def peer(self):
        return self.host("peer")

    @property
    def laptop(self):
        return self.host("laptop")

    @property
    def is_up(self):
        return (self.folder / "world.json").exists()

    @property
    def suite(self):
        return json.loads((self.folder / "world.json").read_text())["suite"]

    def hosts(self):
        """The hosts that there are now."""
        folder = self.folder / "hosts"
        return [self.host(entry.name) for entry in sorted(folder.iterdir())] if folder.is_dir() else []

    # --- up

    def up(self, suite=settings.DEFAULT_SUITE, box=True):
        """Starts the world; images are built first if they are missing. On failure everything is ended again."""
        require_usable()
        if suite not in settings.SUITES:
            raise WorldError(f"no suite {suite}: there are {', '.join(settings.SUITES)}")
        if self.is_up:
            raise WorldError(f"the world “{self.name}” is up already; end it with: vm-tests/world down")
        self.down()
        if not images.prepared(suite):
            images.prepare([suite], self._say)
        try:
            self._up(suite, box)
        except BaseException:
            self.down()
            raise

    def _up(self, suite, box):
        began = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._authority.create()
        network.create_router(self.name)
        with ThreadPoolExecutor(4) as pool:
            prepared = [pool.submit(self._make, place) for place in settings.SERVICE_HOSTS.values()]
            dkim_key = self.folder / "peer-dkim.key"
            run(["openssl", "genrsa", "-traditional", "-out", dkim_key, "2048"])
            for future in prepared:
                future.result()
            root_ds, anchor = dns.configure(self.host("dns"), services.dkim_record(dkim_key))
            self._run_service("dns", dns.START)
            self._run_service("resolver", services.resolver(self.host("resolver"), anchor))
            self._run_service("acme", services.acme(self.host("acme"), self._authority))
            self._run_service("releases", services.releases(self.host("releases"), self._repositories()))
            self._run_service("laptop", services.laptop(self.host("laptop")))
            self._run_service("awkward", services.awkward(self.host("awkward"), self._authority))
            (self.folder / "anchor").write_text(anchor + "\n")
            (self.folder / "anchor.ds").write_text("".join(f". IN DS {line}\n" for line in root_ds))
            dns.wait_ready(self.host("dns"))
            self._wait_port("resolver", 53, "udp")
            self._keep_issued_root()
            self._trust(self.host("laptop"))
            self._trust(self.host("peer"))
            self._run_service("peer", services.peer(self.host("peer"), self._authority, dkim_key))
            (self.folder / "world.json").write_text(json.dumps({"suite": suite}))
            booting = pool.submit(self.box, "box") if box else None
            self._wait_port("peer", 25)
            self._wait_port("peer", 993)
            self._wait_port("releases", 80)
            self._wait_port("awkward", 25)
            if booting:
                booting.result()
        self._say(f"the world “{self.name}” is up ({time.monotonic() - began:.1f} s, {suite})")

    def _repositories(self):
        found = [images.packages.repository(images.box_image(suite)) for suite in settings.SUITES]
        return [folder for folder in found if folder.is_dir()]

    def _make(self, place):
        network.create(self.name, place)
        host = self.host(place.name)
        host.mount([images.net_image()])
        # knotd and others ask for their own name at the start, when no resolver answers yet.
        hosts = f"127.0.0.1 localhost\n::1 localhost\n{place.ipv4} {place.fqdn} {place.name}\n"
        host.path("/etc/hosts").write_text(hosts)

    def _run_service(self, name, script):
        host = self.host(name)
        host.path("/srv/start").write_text(f"#!/bin/bash\n{script}\n")
        host.start(["/bin/bash", "/srv/start"])

    def _wait_port(self, name, port, kind="tcp", timeout=settings.SERVICE_TIMEOUT):
        host = self.host(name)
        flag = "-Hltn" if kind == "tcp" else "-Hlun"

        def listens():
            return f":{port} " in host.run("ss", flag, check=False).out

        try:
            wait_for(listens, timeout, f"{name} to listen on port {port}/{kind}")
        except WorldError as error:
            logs = "".join(tail(host.path(log)) for log in ("/var/log/postfix.log", "/var/log/dovecot.log"))
            raise WorldError(f"{error}\n{tail(host.log)}\n{logs if name == 'peer' else ''}") from None

    def _keep_issued_root(self):
        """The ACME server makes its root anew at each start; kept where hosts' stores get it from."""
        host = self.host("acme")

        def fetch():
            return host.run("curl", "-sk", "--max-time", "2", "https://127.0.0.1:15000/roots/0", check=False).out

        pem = wait_for(lambda: "BEGIN CERT" in (text := fetch()) and text, settings.SERVICE_TIMEOUT, "the ACME server")
        (self.folder / "issued-root.pem").write_text(pem)

    def _trust(self, host):
        """Makes the world's authorities, and its DNS root, known to a host, as the real ones are to a real host."""
        own, issued = self._authority.certificate.read_text(), (self.folder / "issued-root.pem").read_text()
        authority.trust(host.root, "small-internet-servers", own)
        authority.trust(host.root, "small-internet-acme-issued", issued)
        for inside, text in ((settings.ACME_CA_FILE, own), (settings.ISSUED_ROOT_FILE, issued)):
            host.path(inside).parent.mkdir(parents=True, exist_ok=True)
            host.path(inside).write_text(text)
        shared = host.path("/usr/share/dns")
        if shared.is_dir():
            (shared / "root.key").write_text((self.folder / "anchor").read_text())
            (shared / "root.ds").write_text((self.folder / "anchor.ds").read_text())

    # --- boxes

    def box(
        self, name="box", suite=None, disk=None, ram=settings.BOX_RAM, snapshot=None, hostname=None, durable=False
    ):
        """Boots a pristine box (in place of the one of that name), or one that continues from a snapshot.

        `disk`: its file system has only so many bytes (like "900m"). `ram`: the limit of its control group.
        `durable`: fsync reaches the machine's disk, which matters for measurements only.
        """
        host = self.host(name)
        if not host.is_box:
            raise WorldError(f"{name} is not a box")
        self.remove(name)
        network.create(self.name, host.place)
        image = images.box_image(suite or self.suite)
        if not image.is_dir():
            images.prepare([suite], self._say)
        layers = [image]
        if snapshot:
            layers.insert(0, self._snapshot_folder(snapshot))
        host.mount(layers, disk, durable)
        if not snapshot:
            host.path("/etc/hostname").write_text(f"{hostname or name}\n")
            host.path("/etc/hosts").write_text(
                f"127.0.0.1 localhost\n127.0.1.1 {hostname or name}\n::1 localhost ip6-localhost ip6-loopback\n"
            )
            self._trust(host)
        host.start(ram=ram)
        host.wait_booted()
        return host

    reset = box

    def remove(self, name):
        """Ends a box and forgets what was on it."""
        host = self.host(name)
        if host.folder.exists() or network.exists(self.name, name):
            host.discard()

    def _snapshot_folder(self, name):
        return self.folder / "snapshots" / name

    def snapshot(self, box, name):
        """Shuts a box down and keeps its disk under a name; the box is gone then. `box(..., snapshot=)` continues."""
        host = self.host(box)
        host.poweroff()
        host.pull_the_plug()
        host.unmount()
        kept = self._snapshot_folder(name)
        kept.parent.mkdir(exist_ok=True)
        run(["rm", "-rf", kept])
        (host.folder / "writable/up").rename(kept)
        host.discard()

    # --- down

    def down(self):
        """Ends everything of this world: processes, mounts, namespaces, groups, files. Safe at any time."""
        prefix = network.namespace(self.name, "")
        names = set(network.all_of(self.name)) | {group.removeprefix(prefix) for group in cgroups.names(prefix)}
        names |= {host.name for host in self.hosts()}
        names.discard("router")
        problems = []
        with ThreadPoolExecutor(4) as pool:
            for outcome in [pool.submit(self._discard, name) for name in sorted(names)]:
                try:
                    outcome.result()
                except WorldError as error:
                    problems.append(str(error))
        if network.exists(self.name, "router"):
            network.delete(self.name, "router")
        for target in sorted(_mounts_below(self.folder), key=len, reverse=True):
            run(["umount", "-l", target], check=False)
        left = _mounts_below(self.folder)
        if left or problems:
            raise WorldError("\n".join(problems + [f"still mounted: {target}" for target in left]))
        existed = self.folder.exists()
        shutil.rmtree(self.folder, ignore_errors=True)
        return existed

    def _discard(self, name):
        self.host(name).discard()

    def status(self):
        """One line per host."""
        if not self.hosts():
            return f"the world “{self.name}” is down\n"
        lines = []
        for host in self.hosts():
            state = "runs" if host.running else "is down"
            lines.append(f"{host.name:9} {state:8} {host.ipv4:14} {host.ipv6:22} {host.place.fqdn}")
        return "\n".join(lines) + "\n"


def _mounts_below(folder):
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        target = line.split(" ")[1].encode().decode("unicode_escape")
        if target.startswith(f"{folder}/"):
            found.append(target)
    return found


def why_not():
    """Why hosts can't be booted on this machine; empty when they can."""
    if os.geteuid() != 0:
        return "needs root"
    if not cgroups.usable():
        return "needs control groups that can be written"
    probe = f"ms-probe-{os.getpid()}"
    if shutil.which("ip") and not run(["ip", "netns", "add", probe], check=False).ok:
        return "network namespaces can't be made"
    run(["ip", "netns", "del", probe], check=False)
    if "overlay" not in Path("/proc/filesystems").read_text() and not run(["modprobe", "overlay"], check=False).ok:
        return "the kernel has no overlay file system"
    return ""


def require_usable():
    reason = why_not()
    if reason:
        raise WorldError(f"whole hosts can't be booted here: {reason}")
