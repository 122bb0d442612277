"""What the small internet consists of: hosts, addresses, names, package lists and limits.

Plain data only. The addresses look global on purpose (many libraries treat the documentation ranges as
private); they exist only inside network namespaces that have no way out.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("MAILSTEAD_CACHE", "/var/cache/mailstead-tests"))
MIRROR = os.environ.get("MAILSTEAD_DEBIAN_MIRROR", "http://deb.debian.org/debian")
VM_TESTS = Path(__file__).resolve().parent.parent
CHECKOUT = VM_TESTS.parent

SUITES = ("trixie", "bookworm")
DEFAULT_SUITE = "trixie"

# Programs this machine needs to run the small internet, and the Debian packages that have them.
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "nft": "nftables",
    "openssl": "openssl",
    "pgrep": "procps",
    "strip": "binutils",
    "dpkg-deb": "dpkg",
    "dnssec-cds": "bind9-utils",
    "faketime": "faketime",
    "/usr/lib/python3/dist-packages/pytest": "python3-pytest",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}

# A freshly rented server: systemd, ssh, the usual small tools, nothing that has to do with mail.
BOX_PACKAGES = (
    "systemd systemd-sysv dbus iproute2 iputils-ping netbase procps ca-certificates curl openssl "
    "openssh-server python3 sudo apt-utils less dns-root-data"
).split()

# What a box may install from the package server (with what these depend on and recommend). With libfaketime tests turn the
# clock of one role.
BOX_INSTALLABLE = "nginx nsd unbound nftables unattended-upgrades systemd-timesyncd chrony libfaketime".split()

# One image for all hosts that are not boxes.
NET_SUITE = "trixie"
NET_PACKAGES = (
    "knot knot-dnsutils unbound pebble postfix postfix-pcre opendkim opendkim-tools opendmarc dbconfig-no-thanks "
    "dovecot-imapd swaks libnet-ssleay-perl libio-socket-ssl-perl libauthen-sasl-perl libnet-dns-perl isync "
    "ldnsutils bind9-dnsutils dns-root-data curl openssl python3 ca-certificates iproute2 iputils-ping procps "
    "netbase less zonemaster-cli dnsviz"
).split()

# Raise when the way images are built changes, so that cached ones are not used.
RECIPE = 3

# Seconds.
IMAGE_TIMEOUT = 600
BOOT_TIMEOUT = 60
SERVICE_TIMEOUT = 30
COMMAND_TIMEOUT = 120

BOX_RAM = "1G"

ROOT_SERVER = "a.root-servers.net"
# The addresses that every resolver's built-in hints name: the world's DNS host owns them all here.
ROOT_SERVERS_V4 = (
    "198.41.0.4 170.247.170.2 199.9.14.201 192.228.79.201 192.33.4.12 199.7.91.13 192.203.230.10 192.5.5.241 "
    "192.112.36.4 198.97.190.53 192.36.148.17 192.58.128.30 193.0.14.129 199.7.83.42 202.12.27.33"
).split()
ROOT_SERVERS_V6 = (
    "2001:503:ba3e::2:30 2801:1b8:10::b 2001:500:200::b 2001:500:2::c 2001:500:2d::d 2001:500:a8::e 2001:500:2f::f "
    "2001:500:12::d0d 2001:500:1::53 2001:7fe::53 2001:503:c27::2:30 2001:7fd::1 2001:500:9f::42 2001:500:3::42 "
    "2001:dc3::35"
).split()


@dataclass(frozen=True)
class Place:
    """One host's place in the network: its own /24 and /64 behind the router."""

    name: str
    number: int
    fqdn: str

    @property
    def ipv4(self):
        return f"45.90.{self.number}.10"

    @property
    def ipv6(self):
        return f"2a0d:5600:{self.number}::10"

    @property
    def router4(self):
        return f"45.90.{self.number}.1"

    @property
    def router6(self):
        return f"2a0d:5600:{self.number}::1"

    @property
    def is_box(self):
        return self.name.startswith("box")


SERVICE_HOSTS = {
    place.name: place
    for place in (
        Place("dns", 1, "ns.hosting.net"),
        Place("resolver", 2, "resolver.hosting.net"),
        Place("acme", 3, "acme.authority.org"),
        Place("peer", 4, "mail.peer.org"),
        Place("releases", 5, "releases.mailstead.org"),
        Place("laptop", 6, "laptop.hosting.net"),
        Place("awkward", 7, "awkward.hosting.net"),
    )
}

# The servers of the host `awkward` (awkward.py tells what is wrong with each): NAME.awkward.org has an address of its own.
AWKWARD = {
    name: f"45.90.7.{number}"
    for number, name in enumerate("sound grey drips silent dot data busy refuses talks breaks loses".split(), start=20)
}
# An address of that host where nobody listens, and one that no host has.
AWKWARD_REFUSES, AWKWARD_DOWN = SERVICE_HOSTS["awkward"].ipv4, "45.90.7.99"

BOX_NAME = re.compile(r"box([1-9][0-9]?)?")


def place(name):
    """The place of a host by its name; any `box`, `box2` … `box99` has one."""
    if name in SERVICE_HOSTS:
        return SERVICE_HOSTS[name]
    match = BOX_NAME.fullmatch(name)
    if not match:
        raise KeyError(f"no host named {name}: there are {', '.join(SERVICE_HOSTS)} and box, box2, … box99")
    number = 100 + int(match.group(1) or 1)
    return Place(name, number, f"static-{number}.clients.hosting.net")


ACME_DIRECTORY = "https://acme.authority.org/dir"
# Where a box and the laptop find the certificates of the world's authorities.
ACME_CA_FILE = "/etc/small-internet/acme-ca.pem"
ISSUED_ROOT_FILE = "/etc/small-internet/issued-root.pem"
