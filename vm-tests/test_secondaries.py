"""Other servers answer for the zones: Knot on one host and NSD on another, each entered as its owner enters it, each with
the key that the box made for it."""

import json
import re
import time

import pytest
from small_internet.shell import WorldError, wait_for

KNOT = """\
server:
    rundir: "/run/secondary"
    listen: [0.0.0.0@53, "::@53"]
log:
  - target: /var/log/secondary.log
    any: debug
database:
    storage: "/var/lib/secondary"
key:
  - id: "{name}"
    algorithm: {algorithm}
    secret: "{secret}"
remote:
  - id: box
    address: [{ipv4}, "{ipv6}"]
    key: "{name}"
acl:
  - id: told
    address: [{ipv4}, "{ipv6}"]
    key: "{name}"
    action: notify
zone:
  - domain: "{zone}"
    storage: "/var/lib/secondary"
    master: box
    acl: told
"""

NSD = """\
server:
  ip-address: 0.0.0.0
  ip-address: ::0
  verbosity: 3
remote-control:
  control-enable: yes
  control-interface: /run/nsd/nsd.ctl
key:
  name: "{name}"
  algorithm: {algorithm}
  secret: "{secret}"
zone:
  name: "{zone}"
  zonefile: "/var/lib/nsd/{zone}.zone"
  request-xfr: {ipv4} "{name}"
  allow-notify: {ipv4} "{name}"
  allow-notify: {ipv6} "{name}"
"""


class Secondary:
    """A host that answers for the owner's zone, and what the box said to enter there."""

    def __init__(self, owner, host, name):
        self.owner, self.host, self.name = owner, host, name
        said = owner.run("dns", "secondary", "add", name, host.ipv4, host.ipv6).out
        self.key, self.algorithm, self.secret = (
            re.search(rf"^  {word} +(\S+)$", said, re.MULTILINE)[1] for word in ("key name", "algorithm", "secret")
        )

    def fill(self, template):
        box = self.owner.box
        return template.format(name=self.key, algorithm=self.algorithm, secret=self.secret, zone=self.owner.domain,
                               ipv4=box.ipv4, ipv6=box.ipv6)  # fmt: skip

    @property
    def tsig(self):
        return f"{self.algorithm}:{self.key}:{self.secret}"


def serial(world, server, zone):
    said = world.laptop.run("dig", "+short", "+time=2", "+tries=1", f"@{server}", zone, "SOA", check=False).out.split()
    return int(said[2]) if len(said) == 7 else None


def transfer(host, server, zone, kind="AXFR", tsig=None):
    key = ("-y", tsig) if tsig else ()
    return host.run("dig", "+noall", "+answer", "+time=3", "+tries=1", f"@{server}", *key, zone, kind, check=False).out


@pytest.fixture
def two(world, disposable):
    """Both secondaries, with the zone; the registrar knows them."""
    owner = disposable
    knot = Secondary(owner, world.laptop, world.laptop.place.fqdn)
    world.laptop.write("/etc/secondary.conf", knot.fill(KNOT))
    world.laptop.run("mkdir -p /run/secondary /var/lib/secondary && knotd -d -c /etc/secondary.conf")
    other = world.box("box2")
    nsd = Secondary(owner, other, other.place.fqdn)
    other.write("/etc/nsd/nsd.conf", nsd.fill(NSD))
    other.run("apt-get update -q && apt-get install -y -q -o Dpkg::Options::=--force-confold nsd", timeout=180)
    owner.enter_ds(others=[knot.name, nsd.name])
    try:
        yield knot, nsd
    finally:
        world.laptop.run("knotc -c /etc/secondary.conf stop; rm -rf /var/lib/secondary /run/secondary", check=False)
        world.remove("box2")


def test_two_secondaries_have_every_change_at_once_and_answer_when_the_box_is_dark(world, two, disposable):
    owner, (knot, nsd) = disposable, two
    zone, box = owner.domain, owner.box

    def same():
        serials = [serial(world, host.ipv4, zone) for host in (box, knot.host, nsd.host)]
        if None in serials or len(set(serials)) > 1:
            raise WorldError(f"box, Knot, NSD: {serials}")
        return serials[0]

    before = wait_for(same, 60, "the first transfer", interval=0.5)
    assert "AXFR, incoming" in world.laptop.read("/var/log/secondary.log")

    # A change: nobody waits for the refresh timer of four hours.
    began = time.monotonic()
    owner.run("dns", "add", f"shop.{zone}", "A", "45.90.9.9")
    assert wait_for(lambda: (now := same()) > before and now, 15, "the change at both", interval=0.3)
    took = time.monotonic() - began
    assert took < 15, took
    log = world.laptop.read("/var/log/secondary.log")
    assert re.search(rf"\[{re.escape(zone)}\.\] notify, incoming, remote 45\.90\.101\.10", log), log
    for host in (knot.host, nsd.host):
        assert world.laptop.run("dig", "+short", f"@{host.ipv4}", f"shop.{zone}", "A").out.strip() == "45.90.9.9"
    # Asked for the difference, the box gives the whole: the difference is longer, since all signatures are new.
    whole = transfer(knot.host, box.ipv4, zone, f"IXFR={before}", knot.tsig)
    assert whole.count("IN\tSOA") == 2 and f"mta-sts.{zone}." in whole, whole[:2000]

    # By its own key and from its own address only.
    assert "RRSIG" in transfer(knot.host, box.ipv4, zone, tsig=knot.tsig)
    assert "RRSIG" in transfer(knot.host, box.ipv6, zone, tsig=knot.tsig)
    wrong = f"{knot.algorithm}:{knot.key}:{'A' * 43}="
    for host, tsig in ((knot.host, None), (knot.host, wrong), (knot.host, nsd.tsig), (world.peer, knot.tsig), (world.peer, None)):
        assert "RRSIG" not in transfer(host, box.ipv4, zone, tsig=tsig), (host.name, tsig)

    # The box shows that they agree; and which is behind when one hears nothing.
    def listed():
        return {one["server"]: one["zones"] for one in json.loads(owner.run("dns", "secondary", "list", "--json").out)}

    assert all(one["serials"] == [one["here"]] * 2 for zones in listed().values() for one in zones), listed()
    nsd.host.run("nsd-control write && sed -i '/secret/s/\".*\"/\"'$(head -c 32 /dev/zero | base64)'\"/' /etc/nsd/nsd.conf && systemctl restart nsd")
    owner.run("dns", "add", f"more.{zone}", "A", "45.90.9.9")
    wait_for(lambda: listed()[knot.name][0]["serials"] == [listed()[knot.name][0]["here"]] * 2, 15, "Knot to agree", interval=0.5)
    behind = listed()[nsd.name][0]
    assert all(one < behind["here"] for one in behind["serials"]), behind
    assert f"{zone} is behind at {nsd.host.ipv4}, {nsd.host.ipv6}" in (told := owner.run("dns", "secondary", "list").out), told

    # Without the box the zone is still there, and validates.
    box.run("nft insert rule inet mailstead input meta l4proto '{ tcp, udp }' th dport 53 drop")
    assert serial(world, box.ipv4, zone) is None
    for name, status in ((f"shop.{zone}", "NOERROR"), (f"nothing.{zone}", "NXDOMAIN")):
        said = world.laptop.run("dig", "+dnssec", "+time=20", "+tries=1", name, "A", timeout=60).out
        assert f"status: {status}" in said and re.search(r"flags:[^;]* ad", said), said
    box.run("nft -f /etc/nftables.conf")

    # One that is removed gets nothing any more.
    owner.run("dns", "secondary", "remove", knot.name)
    wait_for(lambda: "RRSIG" not in transfer(knot.host, box.ipv4, zone, tsig=knot.tsig), 15, "the end of transfers")
    assert knot.name not in world.laptop.run("dig", "+short", f"@{box.ipv4}", zone, "NS").out
