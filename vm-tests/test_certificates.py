"""Certificates on a whole host: shown by the zone alone, on every port at once, and a key that is changed in the open."""

import json
import re

import pytest
from small_internet import mail
from small_internet.shell import WorldError, wait_for

PORTS = (25, 465, 587, 993, 995, 443)
TLS = "/var/lib/mailstead/tls"


def status(owner):
    return json.loads(owner.run("certificate", "status", "--json").out)


def served(world, owner, port):
    """The certificate that a port serves, verified by openssl on the laptop."""
    how = {25: ["-starttls", "smtp"], 587: ["-starttls", "smtp"]}.get(port, [])
    said = world.laptop.run(
        "openssl", "s_client", "-connect", f"{owner.hostname}:{port}", "-servername", owner.hostname, *how,
        "-CAfile", mail.ISSUED_ROOT_FILE, "-verify_return_error", "-verify_hostname", owner.hostname,
        input="QUIT\r\n", timeout=30,
    ).text  # fmt: skip
    assert "Verify return code: 0" in said, said
    return re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END", said, re.DOTALL).group(1).strip()


def test_with_port_80_closed_the_zone_shows_the_authority_and_every_port_serves_the_new_certificate(world, disposable):
    owner = disposable
    owner.box.run("nft insert rule inet mailstead input tcp dport 80 drop")
    assert not world.laptop.run("curl", "-sS", "--max-time", "3", f"http://{owner.hostname}/", check=False).ok
    before = owner.box.read(f"{TLS}/chain.pem")
    owner.run("certificate", "renew", timeout=200)
    after = owner.box.read(f"{TLS}/chain.pem")
    now = status(owner)
    assert after != before and not now["left_out"]
    # The authority suggests when to renew (RFC 9773).
    assert now["not_before"] < now["window"]["start"] <= now["renewal_at"] < now["window"]["end"]
    leaf = after.split("-----BEGIN CERTIFICATE-----")[1].split("-----END")[0].strip()

    def everywhere():
        old = [port for port in PORTS if served(world, owner, port) != leaf]
        if old:
            raise WorldError(f"the previous certificate is served on {old}")
        return True

    wait_for(everywhere, 60, "the new certificate on every port", interval=1)
    # Nothing of the validation stays, once resolvers have forgotten it.
    asked = ("dig", "+short", f"_acme-challenge.{owner.hostname}", "TXT")
    wait_for(lambda: not world.laptop.run(*asked).out.strip(), 30, "the validation's record to go", interval=1)
    owner.box.run("nft -f /etc/nftables.conf")


def test_the_next_keys_tlsa_record_is_published_before_it_is_used(world, disposable):
    owner = disposable
    owner.run("certificate", "roll", timeout=200)
    following = owner.box.read(f"{TLS}/next.spki").strip()

    def published():
        answer = world.laptop.run("dig", "+short", f"_25._tcp.{owner.hostname}", "TLSA").out.lower().replace(" ", "")
        if following not in answer:
            raise WorldError(answer)
        return answer

    assert status(owner)["spki"] in wait_for(published, 60, "the next key's record", interval=1)
    owner.run("certificate", "renew", timeout=200)
    assert status(owner)["stage"]["is"] == "announced"


@pytest.mark.parametrize("name", ["autoconfig.{}", "{}"])
def test_mail_programs_find_their_settings(world, settled, name):
    host = name.format(settled.domain)
    path = "/mail/config-v1.1.xml" if name.startswith("autoconfig") else "/.well-known/autoconfig/mail/config-v1.1.xml"
    said = world.laptop.run("curl", "-sS", "--max-time", "10", f"https://{host}{path}?emailaddress=x@{settled.domain}").out
    assert f"<hostname>{settled.hostname}</hostname>" in said


def test_apples_profile_is_signed_with_the_boxs_certificate(world, settled):
    url = f"https://{settled.hostname}/setup/profiles/{settled.domain}.mobileconfig"
    world.laptop.run("curl", "-sS", "-f", "--max-time", "10", "-o", "/root/profile", url)
    said = world.laptop.run(
        "openssl", "cms", "-verify", "-inform", "DER", "-binary", "-purpose", "any", "-in", "/root/profile",
        "-CAfile", "/etc/small-internet/issued-root.pem",
    )  # fmt: skip
    assert settled.hostname in said.out
