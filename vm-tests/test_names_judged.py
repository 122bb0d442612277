"""The zones before independent judges: zonemaster and dnsviz in the small internet, and a rollover that the parent follows."""

import json
import re

from small_internet.shell import wait_for

# What zonemaster says of every box, and why it is as it is.
EXPLAINED = {
    # One machine answers for the zone by two names; a secondary is the owner's choice (mailstead dns secondary).
    "CN04_IPV4_SINGLE_ASN",
    "CN04_IPV6_SINGLE_ASN",
    "CN04_IPV4_SAME_PREFIX",
    "CN04_IPV6_SAME_PREFIX",
    "CN04_IPV4_DIFFERENT_PREFIX",
    "IPV4_ONE_ASN",
    "IPV6_ONE_ASN",
    "IPV4_SAME_PREFIX",
    "IPV6_SAME_PREFIX",
    "IPV4_SAME_ASN",
    "IPV6_SAME_ASN",
    "NS_SAME_IP",
    "CHILD_NS_SAME_IP",
    "DEL_NS_SAME_IP",
    "SAME_IP_ADDRESS",
    # It asks each address once and then finds that it did not ask the second name of the same address.
    "DS10_EXPECTED_NSEC_NSEC3_MISSING",
    # The small internet has no register of autonomous systems to ask.
    "EMPTY_ASN_SET",
    "ERROR_ASN_DATABASE",
    "ASN_INFOS_RAW",
}


def test_zonemaster_finds_nothing_that_is_not_explained(world, settled):
    root = world.laptop.run("dig", "+short", "a.root-servers.net", "A").out.split()[0]
    world.laptop.write("/root/hints", f". 3600000 NS a.root-servers.net.\na.root-servers.net. 3600000 A {root}\n")
    said = world.laptop.run(
        "zonemaster-cli", "--json", "--level", "WARNING", "--hints", "/root/hints", settled.domain, check=False, timeout=120
    )
    assert "{" in said.out, said.out + said.err
    results = json.loads(said.out[said.out.index("{") :])
    found = results.get("results", results) if isinstance(results, dict) else results
    unexplained = [one for one in found if one.get("tag") not in EXPLAINED]
    assert not unexplained, json.dumps(unexplained, indent=1)


def test_dnsviz_finds_no_error_and_no_warning(world, settled):
    world.laptop.write("/root/anchor.keys", (world.folder / "anchor").read_text())
    world.laptop.run(f"dnsviz probe -A -a . -o /root/probe.json {settled.domain} 2>/dev/null", timeout=120)
    said = world.laptop.run("dnsviz grok -l warning -t /root/anchor.keys -r /root/probe.json 2>/dev/null", timeout=60).out
    grokked = json.loads(said or "{}")
    # The levels above the domain are the small internet's own.
    troubles = re.findall(r'"(?:errors|warnings)": \[.*?\]', json.dumps(grokked.get(f"{settled.domain}.", {})))
    assert not troubles, troubles


def test_a_rollover_goes_on_when_the_parent_shows_the_new_key(world, disposable):
    """The wait of days is the pure part's to prove; here the box sees by itself what the parent's servers show."""
    owner = disposable

    def keys():
        return json.loads(owner.run("dns", "rollover", owner.domain, "--json").out)

    wait_for(lambda: owner.run("dns", "rollover", owner.domain, "--start", check=False).ok, 60, "the start of a rollover")
    served = lambda: world.laptop.run("dig", "+short", owner.domain, "DNSKEY").out.count("257 3 13")  # noqa: E731
    wait_for(lambda: served() == 2, 30, "both keys")
    assert "; fully validated" in _delv(world, owner.domain)
    assert [key["phase"] for key in keys()["keys"] if key["kind"] == "ksk"] == ["active", "published"]
    owner.run("dns", "rollover", owner.domain, "--cancel")
    wait_for(lambda: served() == 1, 30, "the old key alone")
    assert "; fully validated" in _delv(world, owner.domain)


def test_added_records_validate_and_the_check_of_records_agrees(world, disposable):
    owner = disposable
    owner.run("dns", "add", f"shop.{owner.domain}", "A", "45.90.9.9")
    wait_for(lambda: "45.90.9.9" in world.laptop.run("dig", "+short", f"shop.{owner.domain}", "A").out, 30, "the record")
    assert "; fully validated" in _delv(world, f"shop.{owner.domain}", "A")
    compared = json.loads(owner.run("dns", "check", "--json", check=False).out)
    wrong = [one for one in compared if one["problem"]]
    assert len(compared) > 40 and not wrong, wrong


def _delv(world, name, kind="SOA"):
    anchor = (world.folder / "anchor").read_text()
    key = re.search(r"DNSKEY (\d+) (\d+) (\d+) (\S+)", anchor).groups()
    world.laptop.write("/root/anchor.conf", 'trust-anchors { . static-key %s %s %s "%s"; };\n' % key)
    return world.laptop.run("delv", "-a", "/root/anchor.conf", name, kind).out


def test_what_is_mended_is_seen_at_once_though_the_boxs_resolver_heard_otherwise(world, disposable):
    """A resolver remembers for a minute that a signature did not fit; mending has the box's own ask anew."""
    owner, zone = disposable, f"/var/lib/mailstead/zones/{disposable.domain}.zone"
    owner.box.run(
        "sed", "-i", "-E", r"/RRSIG\s+SOA/s/[A-Za-z0-9+\/]{20}(=*)$/AAAAAAAAAAAAAAAAAAAA\1/", zone
    )
    owner.box.run(f"nsd-control reload {owner.domain} && sleep 1 && systemctl restart unbound")
    look = ("status", "--group", "dnssec")
    wait_for(lambda: "signatures and DS do not match" in owner.run(*look, check=False).out, 30, "the check to see it", interval=1)
    mended = owner.run("status", "--mend", "dnssec", check=False)
    assert mended.ok, mended.text
    assert owner.run(*look).ok


def test_a_publication_that_the_name_server_was_not_told_of_is_told_again(world, disposable):
    """As when a reload is lost: the dns role asks the name server what it serves, long before a command has it start anew."""
    owner = disposable
    running = owner.box.run("systemctl show --property MainPID nsd").out
    watch, soon = "mailstead-nsd-zones.path", "--on-active=1 --timer-property=AccuracySec=100ms"
    owner.box.run(f"systemctl stop {watch} && systemd-run -q {soon} systemctl start {watch}")
    owner.run("dns", "add", f"untold.{owner.domain}", "A", "45.90.9.10")
    asked = world.laptop.run("dig", "+short", "+norec", f"@{owner.box.ipv4}", f"untold.{owner.domain}", "A")
    assert asked.out.strip() == "45.90.9.10"
    assert owner.box.run("systemctl show --property MainPID nsd").out == running
    said = owner.box.run("journalctl", "-u", "mailstead-dns", "--since", "-1min").out
    assert "it is told again" in said, said
