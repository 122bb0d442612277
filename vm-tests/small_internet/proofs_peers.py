"""Proofs of what another box sees of this one's ports. The rules stand in `proofs.py`.

Each names the other box as peer for its own time only: a peer may be asked a few times a minute, and all proofs look at all checks.
"""

import re

from . import network
from .proofs import Proof
from .proofs_names import delete_the_rules
from .shell import WorldError, wait_for

CHECKS = ("peer-ports-ipv4", "peer-ports-ipv6")


def _with_a_peer(place):
    """Both owners name the other's box, and each sees that the other is in order."""
    neighbour = place.neighbour()
    neighbour.name_peers(place.owner.hostname)
    place.owner.name_peers(neighbour.hostname)

    def both_seen():
        found = place.look(*CHECKS)
        if any(check["state"] != "ok" for check in found.values()):
            raise WorldError("\n".join(check["seen"] for check in found.values()))
        return True

    wait_for(both_seen, 40, "the peer to reach every port", interval=2)
    return neighbour


def _alone(place):
    place.owner.name_peers()
    place.neighbour().name_peers()


def _a_rule_that_drops(place):
    """A rule of the owner's own, which keeps out the neighbour's network alone."""
    there = _with_a_peer(place).box.ipv4
    place.do("nft 'add table inet proof; add chain inet proof in { type filter hook input priority -10; }; "
             f"add rule inet proof in ip saddr {there} tcp dport 993 drop'")  # fmt: skip


def _a_server_in_between(place):
    """The provider has connections to port 25 end at a mail filter of its own: here the peer's Postfix plays it."""
    there, filter_ = _with_a_peer(place).box.ipv6, place.world.peer.ipv6
    network.between(place.world.name, "add table inet provider; add chain inet provider in { type nat hook prerouting priority -100; }; "
                    f"add rule inet provider in ip6 saddr {there} ip6 daddr {place.box.ipv6} tcp dport 25 dnat ip6 to [{filter_}]:25")  # fmt: skip


def _ask_the_provider(place, result):
    """The remedy has the owner ask for this; the provider does it."""
    assert re.search(f"Ask your VPS provider to take its mail filter away from {place.box.ipv6}", result["remedy"]), result["remedy"]
    network.between(place.world.name, "delete table inet provider")


ALL = [
    Proof("peer-ports-ipv4", _a_rule_that_drops, "^port 993 at 45.90.101.10: no answer, as box2.neighbour.net sees it$", by_hand=delete_the_rules,
          after=_alone),
    Proof("peer-ports-ipv6", _a_server_in_between, "port 25 at 2a0d:5600:101::10: “220 mail.peer.org .*” greets box2.neighbour.net", by_hand=_ask_the_provider,
          after=_alone),
]  # fmt: skip
