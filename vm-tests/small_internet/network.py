"""The wires: a router namespace, and for each host a namespace of its own joined to it by a veth pair.

The router has no way out of the machine, so whatever the hosts send to addresses that look global stays inside.
"""

from pathlib import Path

from . import settings
from .shell import run

NETNS = Path("/run/netns")


def namespace(world, host):
    return f"ms-{world}-{host}"


def exists(world, host):
    return (NETNS / namespace(world, host)).exists()


def _batch(netns, lines, *family):
    run(["ip", *family, "-n", netns, "-batch", "-"], input="\n".join(lines) + "\n", timeout=20)


def create_router(world):
    router = namespace(world, "router")
    run(["ip", "netns", "add", router])
    _batch(router, ["link set lo up"])
    for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        run(["ip", "netns", "exec", router, "sh", "-c", f"echo 1 > /proc/sys/{name.replace('.', '/')}"])


def create(world, place):
    """Makes the namespace of one host, with its addresses and routes, and joins it to the router."""
    router, own, wire = namespace(world, "router"), namespace(world, place.name), f"to-{place.name}"
    run(["ip", "netns", "add", own])
    run(["ip", "link", "add", wire, "netns", router, "type", "veth", "peer", "name", "eth0", "netns", own])
    _batch(
        router,
        [
            f"link set {wire} up",
            f"addr add {place.router4}/24 dev {wire}",
            f"addr add {place.router6}/64 dev {wire} nodad",
        ],
    )
    extra4 = settings.ROOT_SERVERS_V4 if place.name == "dns" else []
    neighbours = settings.AWKWARD.values() if place.name == "awkward" else []
    extra6 = settings.ROOT_SERVERS_V6 if place.name == "dns" else []
    _batch(
        own,
        [
            "link set lo up",
            "link set eth0 up",
            f"addr add {place.ipv4}/24 dev eth0",
            f"addr add {place.ipv6}/64 dev eth0 nodad",
            *(f"addr add {address}/32 dev eth0" for address in extra4),
            *(f"addr add {address}/24 dev eth0" for address in neighbours),
            *(f"addr add {address}/128 dev eth0 nodad preferred_lft 0" for address in extra6),
            f"route add default via {place.router4}",
        ],
    )
    _batch(own, [f"route add default via {place.router6} src {place.ipv6}"], "-6")
    if extra4:
        _batch(router, [f"route add {address}/32 via {place.ipv4}" for address in extra4])
        _batch(router, [f"route add {address}/128 via {place.ipv6}" for address in extra6], "-6")


def between(world, rules):
    """Has the router do by these rules of nft what a provider does with its customers' packets."""
    run(["ip", "netns", "exec", namespace(world, "router"), "nft", rules])


def forget_firewall(world, host):
    """What a reboot of a real machine does: rules in the kernel do not survive it."""
    run(["ip", "netns", "exec", namespace(world, host), "nft", "flush", "ruleset"], check=False)


def delete(world, host):
    run(["ip", "netns", "del", namespace(world, host)], check=False)
    wire = f"to-{host}"
    if host != "router" and exists(world, "router"):
        run(["ip", "-n", namespace(world, "router"), "link", "del", wire], check=False)


def all_of(world):
    """The hosts that have a namespace now, whether or not anything is known of them."""
    prefix = namespace(world, "")
    return [entry.name.removeprefix(prefix) for entry in NETNS.glob(prefix + "*")] if NETNS.exists() else []
