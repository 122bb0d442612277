"""Proofs of the checks of zones, keys and the name server. The rules stand in `proofs.py`."""

import re
import time

from .proofs import SIGNED, Proof, edit

# A stranger's questions to the name server reach the resolver.
REDIRECTED = """
nft 'add table ip proof; add chain ip proof out { type nat hook output priority -100; }'
nft add rule ip proof out ip daddr 45.90.101.10 udp dport 53 meta skuid != unbound redirect to :53
nft 'add chain ip proof back { type nat hook postrouting priority 100; }'
nft add rule ip proof back ip saddr 45.90.101.10 ip daddr 127.0.0.1 udp dport 53 snat to 127.0.0.1
"""


def delete_the_rules(place, result):
    """The remedy has the owner look at the rules; there they are."""
    assert "nft list ruleset" in result["remedy"], result["remedy"]
    tables = re.findall(r"table (inet|ip) proof", place.said("nft list ruleset"))
    assert tables
    place.do("; ".join(f"nft delete table {family} proof" for family in tables))


def aged(file, keys, days, role="dns"):
    """Times in a file of a role's lie further back: days have gone by since."""
    return f"""
set -e; systemctl stop mailstead-{role}
python3 - <<'END'
import json, pathlib
def aged(value):
    if isinstance(value, dict):
        return {{k: v - {days} * 86400 if k in {keys!r} and isinstance(v, int) else aged(v) for k, v in value.items()}}
    return [aged(one) for one in value] if isinstance(value, list) else value
file = pathlib.Path("/var/lib/mailstead/{file}")
file.write_text(json.dumps(aged(json.loads(file.read_text()))))
END
systemctl start mailstead-{role}; sleep 0.5
"""


def _a_lagging_secondary(place):
    place.owner.run("dns", "secondary", "add", "ns.peer.org", place.world.peer.ipv4)


def _a_rollover_that_is_ready(place):
    """A new key is made; two weeks go by until everybody knows it."""
    place.owner.run("dns", "rollover", "example.com", "--start")
    place.do(aged("dns/example.com.json", ("made", "since"), 14))
    place.owner.run("dns", "publish")


def _another_authority(place):
    """An authority that CAA can name issues for this box, and then the record names another."""
    place.do("sed -i 's/^  directory:.*/&\\n  caa: authority.org/' /etc/mailstead/box.yaml")
    place.owner.run("apply")
    place.owner.run("dns", "publish")
    place.do(edit(r"/\sCAA\s/s/issue \"authority.org[^\"]*\"/issue \"elsewhere.org\"/;" + SIGNED))


def _publish(place, result):
    assert "Serve the box's own:  mailstead dns publish" in result["remedy"], result["remedy"]
    place.owner.run("dns", "publish")
    place.forget()


AS_BEFORE = "sed -i '/^  caa:/d' /etc/mailstead/box.yaml; mailstead apply; mailstead dns publish; systemctl reload unbound"


def _wait_for_the_next(place, result):
    """The list says that the next keys are on their way; then the public has had their records for three days."""
    command = re.search(r"mailstead (dns dkim list)", result["remedy"]).group(1)
    assert "example.com" in place.owner.run(*command.split()).out
    place.owner.run("dns", "publish")
    place.forget()
    place.owner.run("dns", "publish")
    place.do(aged("dns/dkim.json", ("seen",), 3))
    place.owner.run("dns", "publish")


TOMORROW = time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() + 86400))

SIGNATURES = [
    Proof("zone-signatures", edit(rf"s/(RRSIG\s+\S+\s+13\s+[0-9]+\s+[0-9]+\s+)[0-9]+/\1{TOMORROW}/"), "example.com: the first ends at",
          unsigned=True, mend=True),
    Proof("zone-denial", edit(r"s/(NSEC3PARAM\s+1\s+0\s+)0/\15/"), "1 0 5", "warning", unsigned=True, remedy=("mailstead dns publish",)),
]  # fmt: skip

NAME_SERVER = [
    Proof("caa", _another_authority, "CAA: .*issue .elsewhere.org", also=("other-records", "zone-signatures", "zone-denial"), unsigned=True,
          by_hand=_publish, after=AS_BEFORE),
    Proof("zone-recursion", REDIRECTED, "45.90.101.10: it answers for names of others", "warning", also=("name-server",),
          perhaps=("zone-signatures", "zone-denial"), by_hand=delete_the_rules),
    Proof("zone-transfer", "sed -i '/zonefile/a\\  provide-xfr: 0.0.0.0/0 NOKEY' /var/lib/mailstead/zones/*.conf; nsd-control reconfig; sleep 0.3",
          "example.com: anybody gets the whole zone", "warning", remedy=("mailstead dns publish; mailstead apply",)),
    Proof("secondaries", _a_lagging_secondary, r"example.com at ns.peer.org \(.*does not answer", "warning", also=("name-servers",),
          remedy=("mailstead dns secondary remove ns.peer.org",), patience=40),
    Proof("dynamic-names", "mailstead dns token add home.example.com", "no router has told its address", "notice",
          remedy=("mailstead dns token remove home.example.com",)),
    Proof("key-rollover", _a_rollover_that_is_ready, "example.com: ", "notice", remedy=("mailstead dns rollover example.com --cancel",)),
    Proof("dkim-age", aged("dns/dkim.json", ("since",), 300), "example.com: .* sign for 300 days", "notice", by_hand=_wait_for_the_next),
]  # fmt: skip

ALL = [*SIGNATURES, *NAME_SERVER]
