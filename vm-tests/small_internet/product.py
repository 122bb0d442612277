"""Mailstead on a box of the small internet, as its owner sees it: the install line, the commands, the files."""

import atexit
import functools
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from . import settings
from .shell import WorldError, run, wait_for

MAILSTEAD = "/opt/mailstead/current/mailstead"
INSTALL = "curl -fsSL http://releases.mailstead.org/install.sh"
SERVICES = tuple(f"mailstead-{role}.service" for role in ("directory", "mailbox", "mta", "filter", "dns", "web"))
TIMERS = tuple(f"mailstead-{name}.timer" for name in ("checks", "backup", "certs", "dns-sign"))


def binary():
    """The program under test: MAILSTEAD_BINARY, or what cargo built in this checkout."""
    named = os.environ.get("MAILSTEAD_BINARY")
    target = Path(os.environ.get("CARGO_TARGET_DIR", settings.CHECKOUT / "target"))
    for path in [Path(named)] if named else [target / "release/mailstead", target / "debug/mailstead"]:
        if path.is_file():
            return path
    raise WorldError("there is no program to test: build it with `cargo build`, or name one in MAILSTEAD_BINARY")


@functools.cache
def stripped():
    """The program under test without its debugging information, which would only make downloads long."""
    slim = Path(tempfile.mkdtemp(prefix="mailstead-program-")) / "mailstead"
    atexit.register(shutil.rmtree, slim.parent, ignore_errors=True)
    run(["strip", "-o", slim, binary()])
    return slim


def version():
    """The version of the checkout."""
    return re.search(r'^version = "([^"]+)"', (settings.CHECKOUT / "Cargo.toml").read_text(), re.M).group(1)


def higher(number):
    major, minor, patch = number.split(".")
    return f"{major}.{minor}.{int(patch) + 1}"


def code(key):
    """What an authenticator app shows now."""
    return run(["oathtool", "--totp", "--base32", key]).out.strip()


class Owner:
    """The owner of a box: the answers they give, and what they learn from the last screen."""

    def __init__(self, world, box, email="owner@example.com", hostname="box.example.com", dns="box"):
        self.world, self.box = world, box
        self.email, self.hostname, self.dns = email, hostname, dns
        self.domain = email.partition("@")[2]
        self.password = None
        self.recovery_key = None
        self.within = ()  # a program through which those of mailstead are run

    def environment(self):
        """How the install line is told of the small internet: its releases' key, its ACME authority."""
        return {
            "MAILSTEAD_RELEASES": "http://releases.mailstead.org/releases",
            "MAILSTEAD_PUBKEY": "/root/release-key.pem",
            "MAILSTEAD_ACME_DIRECTORY": settings.ACME_DIRECTORY,
            "MAILSTEAD_ACME_CA": settings.ACME_CA_FILE,
        }

    def answers(self):
        return ["--email", self.email, "--hostname", self.hostname, "--dns", self.dns, "--yes"]

    def at_the_provider(self):
        """What the owner has done before: reverse names at the VPS provider, name servers and glue at the registrar."""
        for address in (self.box.ipv4, self.box.ipv6):
            self.world.names.ptr(address, self.hostname)
        if self.dns == "box":
            self._delegate(ds=())

    def _delegate(self, ds, others=()):
        servers = [f"ns{n}.{self.hostname}" for n in (1, 2)]
        glue = [f"{name}={address}" for name in servers for address in (self.box.ipv4, self.box.ipv6)]
        self.world.names.delegate(self.domain, [*servers, *others], glue, ds)

    def put_key(self, signer):
        self.box.write("/root/release-key.pem", signer.public)

    def install(self, *arguments, check=True, timeout=300):
        """The install line without a terminal."""
        line = f"{INSTALL} | bash -s -- {' '.join(arguments or self.answers())}"
        return self.box.run("bash", "-c", line, env=self.environment(), check=check, timeout=timeout)

    def install_on_terminal(self, *arguments):
        """The install line on a terminal; returns it."""
        line = f"{INSTALL} | bash -s -- {' '.join(arguments)}"
        return self.box.terminal("bash", "-c", line, env=self.environment())

    def learn(self, screen):
        """Takes the password and the recovery key from the last screen of the set-up."""
        self.password = _after("Password:", screen)
        self.recovery_key = re.search(r"AGE-SECRET-KEY-[0-9A-Z]+", screen).group(0)

    def ds_lines(self):
        """The DS records that the box names, with SHA-256."""
        said = self.run("dns", "ds", self.domain).out.splitlines()
        return [line.strip() for line in said if re.search(r" IN DS \d+ \d+ 2 ", line)]

    def enter_ds(self, lines=None, others=()):
        """Has the registrar publish the DS that the box names (or `lines`), and name servers beside the box's own."""
        lines = self.ds_lines() if lines is None else lines
        self._delegate(ds=lines, others=others)
        return lines

    def run(self, *arguments, **how):
        """A command of mailstead on the box."""
        return self.box.run(*self.within, MAILSTEAD, *arguments, **{"env": self.environment(), **how})

    def turn_clock(self, role, seconds):
        """Has one role run that far in the future from now on (libfaketime); a role without a timer starts anew."""
        if not self.box.run("test", "-d", "/usr/lib/x86_64-linux-gnu/faketime", check=False).ok:
            self.box.run("apt-get", "update", "-q")
            self.box.run("apt-get", "install", "-y", "-q", "libfaketime")
        clock = f"LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1 FAKETIME=+{seconds} DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1"
        unit = f"mailstead-{role}.service"
        self.box.write(f"/run/systemd/system/{unit}.d/clock.conf", f"[Service]\nEnvironment={clock}\n")
        self.box.run(f"systemctl daemon-reload && systemctl try-restart {unit}")

    def add_user(self, address):
        """Adds an account; returns its generated password."""
        return _after("Password:", self.run("user", "add", address).out)

    def second_factor(self):
        """Sets one up, with an authenticator of somebody else's; returns its key."""
        key = json.loads(self.run("user", "second-factor", "add", self.email, "--json").out)["key"]
        self.run("user", "second-factor", "confirm", self.email, input=code(key) + "\n")
        return key

    def name_peers(self, *hostnames):
        """Writes into box.yaml which boxes look at each other's ports, and applies it."""
        told = f"peers: [{', '.join(hostnames)}]\n" if hostnames else ""
        file = "/etc/mailstead/box.yaml"
        lines = [line for line in self.box.read(file).splitlines(keepends=True) if not line.startswith("peers:")]
        self.box.write(file, "".join([*lines, told]))
        self.run("apply")
        self.wait_for_services()

    def records(self):
        """What the box says its zones contain."""
        return json.loads(self.run("dns", "records", "--json").out)

    def status(self):
        return json.loads(self.run("status", "--json", check=False).out)

    def wait_for_services(self, timeout=60):
        def all_active():
            said = self.box.run("systemctl", "is-active", *SERVICES, check=False).out.split()
            if said == ["active"] * len(SERVICES):
                return True
            raise WorldError(", ".join(f"{name} {state}" for name, state in zip(SERVICES, said) if state != "active"))

        wait_for(all_active, timeout, "the services to be active", interval=0.3)

    def state(self):
        """All that must not change by an empty run: files with content hashes, enabled units, the firewall."""
        return self.box.run(
            "sh", "-c",
            "find /etc /opt /usr/local -xdev -type f -exec sha256sum {} + | sort -k 2;"
            "systemctl list-unit-files --state=enabled --no-legend; nft list ruleset | grep -v counter",
        ).out  # fmt: skip


class Neighbour(Owner):
    """The owner of a second box, with a domain of its own."""

    @classmethod
    def moves_in(cls, world, signer):
        """A fresh box, a name for it at its provider and the registrar, the set-up, and then the DS."""
        Mirror(world, signer).publish(version())
        owner = cls(world, world.box("box2"), "ann@neighbour.net", "box2.neighbour.net")
        owner.put_key(signer)
        owner.at_the_provider()
        owner.learn(owner.install().out)
        owner.wait_for_services()
        owner.enter_ds()
        return owner

    def moves_out(self):
        self.world.remove("box2")
        self.world.names.undelegate(self.domain)


def _after(label, text):
    match = re.search(rf"{re.escape(label)}\s+(\S+)", text)
    if not match:
        raise WorldError(f"there is no “{label}” in:\n{text[-3000:]}")
    return match.group(1)


class Mirror:
    """The release server's folder, filled with releases of the program under test."""

    def __init__(self, world, signer):
        self._host, self._signer = world.host("releases"), signer
        self.folder = self._host.path("/srv/www/releases")

    def publish(self, number):
        """Packs, signs and offers a release of the program under test, as those who publish one do."""
        self._host.path("/srv/www/install.sh").write_text((settings.CHECKOUT / "install.sh").read_text())
        shutil.copytree(self._packed(number), self.folder / number, dirs_exist_ok=True)
        (self.folder / "latest").write_text(number + "\n")

    def _packed(self, number):
        """The folder of a release, made once: compressing takes seconds."""
        made = self._signer.private.parent / "packed"
        if not (made / number).is_dir():
            program = stripped()
            run([program, "release", "pack", "--binary", program, "--key", self._signer.private, "--out", made,
                 "--version", number])  # fmt: skip
        return made / number
