"""The text of the world's zones as they are at the start. Pure: what goes in comes from the arguments alone."""

import ipaddress

from . import settings

TTL = 5
SIGNED = (".", "com.", "org.", "net.", "in-addr.arpa.", "ip6.arpa.", "peer.org.", "mailstead.org.", "hosting.net.")
UNSIGNED = ("debian.org.", "spamhaus.org.", "authority.org.", "google.com.", "example.org.", "awkward.org.")
ALL = SIGNED + UNSIGNED

# Who delegates whom. The top-level names' servers have names inside their own zone.
TOP = {"com.": "a.nic.com.", "org.": "a.nic.org.", "net.": "a.nic.net.", "in-addr.arpa.": "a.nic.org.",
       "ip6.arpa.": "a.nic.org."}  # fmt: skip
HOSTING = "ns.hosting.net."


def reverse_name(address):
    return ipaddress.ip_address(address).reverse_pointer + "."


def parent_of(zone):
    return "." if zone in TOP else zone.partition(".")[2]


def _addresses(name, place):
    return [f"{name} {TTL} A {place.ipv4}", f"{name} {TTL} AAAA {place.ipv6}"]


def _head(zone, server):
    return [
        f"{zone} {TTL} SOA {server} hostmaster.hosting.net. 1 3600 600 1209600 {TTL}",
        f"{zone} {TTL} NS {server}",
    ]


def _delegation(zone, server, ds):
    return [f"{zone} {TTL} NS {server}", *(f"{zone} {TTL} DS {line}" for line in ds.get(zone, []))]


def _root(ds):
    dns = settings.SERVICE_HOSTS["dns"]
    lines = _head(".", settings.ROOT_SERVER + ".")
    for zone, server in TOP.items():
        lines += _delegation(zone, server, ds)
    for tld in ("com", "org", "net"):
        lines += _addresses(f"a.nic.{tld}.", dns)
    # Glue for the root itself; the answer with authority is in net.
    return lines + _root_server()


def _root_server():
    v4, v6 = settings.ROOT_SERVERS_V4[0], settings.ROOT_SERVERS_V6[0]
    return [f"{settings.ROOT_SERVER}. {TTL} A {v4}", f"{settings.ROOT_SERVER}. {TTL} AAAA {v6}"]


def _top_level(zone, ds):
    lines = _head(zone, TOP[zone])
    if TOP[zone].endswith(f".{zone}"):
        lines += _addresses(TOP[zone], settings.SERVICE_HOSTS["dns"])
    for child in ALL:
        if child not in TOP and child != "." and parent_of(child) == zone:
            lines += _delegation(child, HOSTING, ds)
    if zone == "net.":
        lines += _root_server() + _addresses(HOSTING, settings.SERVICE_HOSTS["dns"])
    return lines


def _reverse(zone):
    lines = _head(zone, TOP[zone])
    places = [*settings.SERVICE_HOSTS.values(), *(settings.place(name) for name in box_names())]
    for place in places:
        address = place.ipv4 if zone == "in-addr.arpa." else place.ipv6
        lines.append(f"{reverse_name(address)} {TTL} PTR {place.fqdn}.")
    return lines


def box_names():
    return ["box", *(f"box{n}" for n in range(2, 10))]


def _peer(dkim):
    peer = settings.SERVICE_HOSTS["peer"]
    return [
        *_head("peer.org.", HOSTING),
        *_addresses("mail.peer.org.", peer),
        f"peer.org. {TTL} MX 10 mail.peer.org.",
        f'peer.org. {TTL} TXT "v=spf1 mx -all"',
        f'mail.peer.org. {TTL} TXT "v=spf1 a -all"',
        f'_dmarc.peer.org. {TTL} TXT "v=DMARC1; p=reject; adkim=r; aspf=r"',
        f"s1._domainkey.peer.org. {TTL} TXT {dkim}",
        # A sender without any authentication, for mail that nobody vouches for.
        f"stranger.peer.org. {TTL} MX 10 mail.peer.org.",
    ]


def _google():
    """Where set-up programs commonly try whether outbound port 25 is open."""
    peer, lines = settings.SERVICE_HOSTS["peer"], _head("google.com.", HOSTING)
    lines.append(f"google.com. {TTL} MX 5 smtp.google.com.")
    for name in ("smtp.google.com.", "gmail-smtp-in.l.google.com.", "aspmx.l.google.com."):
        lines += _addresses(name, peer)
    return lines


def _spamhaus():
    return [
        *_head("spamhaus.org.", HOSTING),
        *(f"2.0.0.127.zen.spamhaus.org. {TTL} A 127.0.0.{code}" for code in (2, 4, 10)),
        f"test.dbl.spamhaus.org. {TTL} A 127.0.1.2",
    ]


def _hosting():
    lines = _head("hosting.net.", HOSTING)
    for place in [*settings.SERVICE_HOSTS.values(), *(settings.place(name) for name in box_names())]:
        if place.fqdn.endswith("hosting.net"):
            lines += _addresses(place.fqdn + ".", place)
    return lines


def _awkward():
    """Domains whose servers misbehave, and some whose MX records do."""
    lines = _head("awkward.org.", HOSTING)
    for name, address in settings.AWKWARD.items():
        lines.append(f"{name}.awkward.org. {TTL} MX 10 mx.{name}.awkward.org.")
        lines.append(f"mx.{name}.awkward.org. {TTL} A {address}")
    return lines + [
        # Many domains, one server that never speaks.
        f"*.silent.awkward.org. {TTL} MX 10 mx.silent.awkward.org.",
        f"null.awkward.org. {TTL} MX 0 .",
        f"refused.awkward.org. {TTL} A {settings.AWKWARD_REFUSES}",
        f"down.awkward.org. {TTL} A {settings.AWKWARD_DOWN}",
        *(f"second.awkward.org. {TTL} MX {rank}" for rank in
          ("10 refused.awkward.org.", "20 down.awkward.org.", "30 mx.sound.awkward.org.")),
    ]  # fmt: skip


def zone_text(zone, ds, dkim):
    """The zone file of `zone`; `ds` maps a signed zone to its DS lines, `dkim` is the peer's quoted key record."""
    releases, acme = settings.SERVICE_HOSTS["releases"], settings.SERVICE_HOSTS["acme"]
    simple = {
        "mailstead.org.": [(name, releases) for name in ("mailstead.org.", "releases.mailstead.org.")],
        "debian.org.": [(name, releases) for name in ("deb.debian.org.", "security.debian.org.")],
        "authority.org.": [("acme.authority.org.", acme)],
        # A domain whose DNS stays elsewhere; tests put records into it.
        "example.org.": [],
    }
    if zone == ".":
        lines = _root(ds)
    elif zone in ("in-addr.arpa.", "ip6.arpa."):
        lines = _reverse(zone)
    elif zone in TOP:
        lines = _top_level(zone, ds)
    elif zone in simple:
        lines = _head(zone, HOSTING) + [line for name, place in simple[zone] for line in _addresses(name, place)]
    else:
        lines = {"peer.org.": lambda: _peer(dkim), "google.com.": _google, "spamhaus.org.": _spamhaus,
                 "hosting.net.": _hosting, "awkward.org.": _awkward}[zone]()  # fmt: skip
    return "\n".join(lines) + "\n"
