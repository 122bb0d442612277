"""A rollover of the key signing key from its start to its end, with the real parent and a turned clock, while two resolvers
ask all the time and validate."""

import json
import re

import pytest
from small_internet import mail
from small_internet.shell import WorldError, wait_for
from small_internet.validators import Validators, as_a_parent_would

HOUR = 3600
# The TTL of the keys, and a day until everybody has them.
KNOWN = 26 * HOUR
# A day for the DS that caches may hold, and another.
FOLLOWED = KNOWN + 49 * HOUR


@pytest.fixture
def validators(world, disposable):
    owner = disposable
    names = [(owner.domain, "SOA"), (owner.domain, "MX"), (owner.domain, "DNSKEY"), (f"_25._tcp.{owner.hostname}", "TLSA"),
             (f"nothing.{owner.domain}", "A")]  # fmt: skip
    asking = Validators(world.laptop, names)
    yield asking
    asking.close()


def test_a_key_is_rolled_with_the_parent_and_nobody_gets_a_bogus_answer(world, disposable, validators, tmp_path):
    owner, domain = disposable, disposable.domain

    def keys():
        return json.loads(owner.run("dns", "rollover", domain, "--json").out)

    def ksks():
        return {key["phase"]: key["key_tag"] for key in keys()["keys"] if key["kind"] == "ksk"}

    def asked(kind):
        return world.laptop.run("dig", "+short", f"@{owner.box.ipv4}", domain, kind).out.split("\n")

    def turn(seconds):
        validators.turn(seconds)
        owner.turn_clock("dns", seconds)
        owner.wait_for_services()

    def goes_on(phases, timeout=60):
        """What is decided is published, and seen to be served, which counts as the start of a phase."""

        def look():
            owner.run("dns", "publish")
            if (now := keys()) and set(ksks()) == phases and all(key["since"] for key in now["keys"]):
                return ksks()
            raise WorldError(str(now))

        return wait_for(look, timeout, f"the phases {phases}", interval=1)

    def wait_for_letter(title):
        """On the disk: to everybody else's clock the box's names are signed too early."""

        def look():
            return owner.box.run("grep", "-rlF", f"Subject: {title}", "/var/lib/mailstead/mail", check=False).out.split()

        return mail.parse(owner.box.read_bytes(wait_for(look, 30, f"“{title}”", interval=0.5)[0])).get_content()

    old = ksks()["active"]
    assert validators.more(2) >= 2 and not validators.wrong, validators.wrong
    wait_for(lambda: owner.run("dns", "rollover", domain, "--start", check=False).ok, 60, "the start")
    new = goes_on({"active", "published"})["published"]
    assert validators.more(3) >= 3
    # The parent is not asked for anything yet.
    assert [line.split()[0] for line in asked("CDS") if line] == [str(old)]

    turn(KNOWN)
    assert goes_on({"active", "ready"})["ready"] == new
    assert validators.more(3) >= 3 and not validators.wrong, validators.wrong
    assert {line.split()[0] for line in asked("CDS") if line} == {str(new)}
    assert len([line for line in asked("CDNSKEY") if line.startswith("257 3 13 ")]) == 1
    present = [line for line in owner.ds_lines() if f" DS {old} " in line]
    # A parent that follows CDS, played by BIND, verifies what is served by what it vouches for, and comes to this DS.
    served = world.laptop.run(f"for kind in DNSKEY CDS CDNSKEY; do dig +noall +answer +dnssec @{owner.box.ipv4} {domain} $kind; done").out
    taken = as_a_parent_would(tmp_path, domain, served, present, KNOWN)
    assert re.search(rf"IN DS {new} 13 2 [0-9A-F ]+$", taken.out.strip()) and taken.out.count("\n") == 1, taken.text
    # And one that was tampered with is not taken.
    forged = re.sub(rf"(CDS\s+{new} 13 2 )....", r"\g<1>0000", served)
    assert forged != served and not as_a_parent_would(tmp_path, domain, forged, present, KNOWN).out.strip()
    told = owner.run("dns", "rollover", domain).out
    assert "The parent zone is waited for" in told, told
    letter = wait_for_letter(f"Give the registrar the new DS record of {domain}")
    digest = taken.out.split()[-1]
    assert f"{domain}. IN DS {new} 13 2 {digest}" in letter, (letter, taken.out)
    # While the registrar does nothing, nothing happens, however long it takes.
    turn(KNOWN + 5 * 24 * HOUR)
    assert goes_on({"active", "ready"})["ready"] == new
    assert validators.more(3) >= 3 and not validators.wrong, validators.wrong

    owner.enter_ds([taken.out.strip()])
    owner.run("dns", "publish")
    wait_for(lambda: "shows the new DS record since" in owner.run("dns", "rollover", domain).out, 60, "the box to see the DS")
    refused = owner.run("dns", "rollover", domain, "--cancel", check=False)
    assert not refused.ok and "shows the new key already" in refused.err, refused
    # Others may have the old DS still.
    assert goes_on({"active", "ready"})["active"] == old
    assert validators.more(3) >= 3 and not validators.wrong, validators.wrong

    turn(FOLLOWED + 5 * 24 * HOUR)
    assert goes_on({"active"}) == {"active": new}
    wait_for(lambda: len([line for line in asked("DNSKEY") if line.startswith("257 ")]) == 1, 30, "the old key to go")
    assert not owner.box.run(f"ls /var/lib/mailstead/dns | grep -F '+{old:05}.'", check=False).out
    wait_for_letter(f"The new key of {domain} is in place")
    assert validators.more(4) >= 4
    assert not validators.wrong, "\n".join(validators.wrong)
