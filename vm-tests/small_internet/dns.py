"""The DNS host: one knotd that is the root, the top-level domains, the reverse zones and a hosting company.

Signed zones get their keys before the server starts, so that every DS stands in its parent's zone from the first
answer on. Later changes (a registrar's, a VPS provider's) go through knotc and are signed at once.
"""

import re

from . import settings, zones
from .shell import WorldError, run, wait_for

KNOT_CONF = """\
server:
    rundir: "/run/knot"
    user: root:root
    listen: [0.0.0.0@53, "::@53"]
    udp-workers: 1
    tcp-workers: 1
    background-workers: 2
log:
  - target: stderr
    any: info
database:
    storage: "/var/lib/knot"
policy:
  - id: plain
    manual: on
    single-type-signing: on
    algorithm: ecdsap256sha256
    dnskey-ttl: 5
    zone-max-ttl: 5
    propagation-delay: 1
acl:
  - id: world
    address: [45.90.0.0/16, "2a0d:5600::/32"]
    action: transfer
template:
  - id: default
    storage: "/var/lib/knot"
    file: "%s.zone"
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
    acl: world
zone:
"""


def configure(host, dkim):
    """Writes configuration, keys and zones into the (not yet started) DNS host. Returns the root's trust anchor."""
    conf = KNOT_CONF
    for zone in zones.ALL:
        conf += f'  - domain: "{zone}"\n'
        if zone in zones.SIGNED:
            conf += "    dnssec-signing: on\n    dnssec-policy: plain\n"
    host.path("/etc/knot/knot.conf").write_text(conf)

    def keymgr(*words):
        return run(["chroot", host.root, "keymgr", "-c", "/etc/knot/knot.conf", *words]).out

    ds = {}
    for zone in zones.SIGNED:
        keymgr(zone, "generate", "algorithm=ecdsap256sha256", "ksk=yes", "zsk=yes")
        lines = [line.split(" ", 3) for line in keymgr(zone, "ds").splitlines()]
        ds[zone] = [f"{words[2]} {words[3]}" for words in lines if re.match(r"\d+ 13 2 ", f"{words[2]} {words[3]}")]
    for zone in zones.ALL:
        text = zones.zone_text(zone, ds, dkim)
        host.path(f"/var/lib/knot/{'' if zone == '.' else zone[:-1]}.zone").write_text(text)
    return ds["."], _dnskey(keymgr(".", "dnskey"))


def _dnskey(line):
    match = re.search(r"DNSKEY\s+(\d+ \d+ \d+ \S.*)$", line.strip())
    if not match:
        raise WorldError(f"no root key in what keymgr says: {line}")
    return f". {86400} IN DNSKEY {match.group(1)}"


START = "mkdir -p /run/knot && exec knotd -c /etc/knot/knot.conf"


class Names:
    """The registrar, the VPS provider and the blocklist: whoever can change names in the world."""

    def __init__(self, host, resolver):
        self._host, self._resolver = host, resolver

    def _knotc(self, *words, check=True):
        return self._host.run("knotc", "-c", "/etc/knot/knot.conf", "-b", *words, timeout=20, check=check)

    def change(self, zone, unset=(), put=()):
        """One signed change of a zone: `unset` names (or name and type), then `put` (name, type, data)."""
        self._knotc("zone-begin", zone)
        try:
            for words in unset:
                self._knotc("zone-unset", zone, *words, check=False)  # what is not there need not go
            for name, kind, data in put:
                self._knotc("zone-set", zone, name, str(zones.TTL), kind, *str(data).split())
            self._knotc("zone-commit", zone)
        except WorldError:
            self._knotc("zone-abort", zone, check=False)
            raise
        self._forget(name for name, _, *_ in [*put, *unset])

    def _forget(self, names):
        """Has the world's resolver look up these names anew; keys and failures would stay a minute otherwise."""
        for name in set(names):
            self._resolver.run("unbound-control", "-q", "flush_zone", name, timeout=10)

    def delegate(self, domain, ns, glue=(), ds=()):
        """What an owner enters at the registrar. `glue`: "name=address"; `ds`: "tag algorithm digest-type digest"."""
        domain = _absolute(domain)
        tld = domain.partition(".")[2]
        if tld not in zones.TOP:
            raise WorldError(f"the registrar sells names under com, org and net, not {domain}")
        put = [(domain, "NS", _absolute(name)) for name in ns]
        unset = [(domain, "NS"), (domain, "DS")]
        for entry in glue:
            name, _, address = entry.partition("=")
            name = _absolute(name)
            if not name.endswith("." + tld):
                raise WorldError(f"{name} is not under {tld}: a registrar takes no glue for it")
            unset += [(name, "A"), (name, "AAAA")] if (name, "A") not in unset else []
            put.append((name, "AAAA" if ":" in address else "A", address))
        put += [(domain, "DS", _ds_data(line)) for line in ds]
        self.change(tld, unset, put)

    def undelegate(self, domain):
        domain = _absolute(domain)
        self.change(domain.partition(".")[2], [(domain, "NS"), (domain, "DS")])

    def ptr(self, address, name):
        """Sets, or with an empty name removes, the reverse name of an address."""
        zone = "ip6.arpa." if ":" in address else "in-addr.arpa."
        reverse = zones.reverse_name(address)
        self.change(zone, [(reverse, "PTR")], [(reverse, "PTR", _absolute(name))] if name else [])

    def record(self, name, kind, *data):
        """Sets the records of a name in one of the hosted zones (example.org, …); no data removes them."""
        name = _absolute(name)
        zone = max((z for z in zones.ALL if name == z or name.endswith("." + z)), key=len)
        self._knotc("zone-begin", zone)
        self._knotc("zone-unset", zone, name, kind, check=False)
        for value in data:
            words = [f'"{value}"'] if kind == "TXT" else str(value).split()
            self._knotc("zone-set", zone, name, str(zones.TTL), kind, *words)
        self._knotc("zone-commit", zone)
        self._forget([name])

    def _listing(self, address):
        for suffix in (".in-addr.arpa.", ".ip6.arpa."):
            reverse = zones.reverse_name(address)
            if reverse.endswith(suffix):
                return reverse.removesuffix(suffix) + ".zen.spamhaus.org."

    def blocklist(self, address, code="127.0.0.2"):
        """Puts an address (or, with `code=None`, takes it off) the blocklist zen.spamhaus.org."""
        name = self._listing(address)
        self.change("spamhaus.org.", [(name, "A")], [(name, "A", code)] if code else [])


def _absolute(name):
    return name if name.endswith(".") else name + "."


def _ds_data(line):
    """A DS as owners paste it: with or without the owner name, TTL, class and type in front."""
    match = re.search(r"(?:^|\sDS\s+)(\d+\s+\d+\s+\d+\s+[0-9A-Fa-f\s]+)$", line.strip())
    if not match:
        raise WorldError(f"not a DS record: {line}")
    tag, algorithm, kind, *digest = match.group(1).split()
    return f"{tag} {algorithm} {kind} {''.join(digest)}"


def wait_ready(host, timeout=settings.SERVICE_TIMEOUT):
    def answers():
        got = host.run("kdig", "+short", "+timeout=1", "+dnssec", "@127.0.0.1", "peer.org", "DNSKEY", check=False)
        return "DNSKEY 13" in got.out or " 13 " in got.out

    wait_for(answers, timeout, "the DNS host to answer with signatures", interval=0.1)
