"""Certificates on a whole host: shown by the zone alone, on every port at once, and a key that is changed in the open."""

import json
import re
import threading
import time

import pytest
from small_internet import mail
from small_internet.shell import WorldError, wait_for

PORTS = (25, 465, 587, 993, 995, 4190, 443)
STARTTLS = {25: ["-starttls", "smtp"], 587: ["-starttls", "smtp"], 4190: ["-starttls", "sieve"]}
TLS = "/var/lib/mailstead/tls"
HOUR = 3600


def status(owner):
    return json.loads(owner.run("certificate", "status", "--json").out)


def served(world, owner, port):
    """The certificate that a port serves, verified by openssl on the laptop."""
    said = world.laptop.run(
        "openssl", "s_client", "-connect", f"{owner.hostname}:{port}", "-servername", owner.hostname, *STARTTLS.get(port, []),
        "-CAfile", mail.ISSUED_ROOT_FILE, "-verify_return_error", "-verify_hostname", owner.hostname,
        input="QUIT\r\n", timeout=30,
    ).text  # fmt: skip
    assert "Verify return code: 0" in said, said
    return leaf_of(said)


def leaf_of(text):
    return re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END", text, re.DOTALL).group(1).strip()


def wait_everywhere(world, owner, leaf):
    """The certificate is served on every port within a minute, without a restart."""

    def look():
        old = [port for port in PORTS if served(world, owner, port) != leaf]
        if old:
            raise WorldError(f"the previous certificate is served on {old}")
        return True

    wait_for(look, 60, "the new certificate on every port", interval=1)


class DaneSenders(threading.Thread):
    """Senders who check DANE and ask all the time: Postfix, which looks the records up each time, and one by openssl who
    keeps every set of records as long as it may."""

    def __init__(self, world, owner):
        super().__init__(daemon=True)
        self._world, self._owner = world, owner
        self._ended, self._asking = threading.Event(), threading.Lock()
        self._sets, self.rounds, self.wrong = set(), 0, []
        self.start()

    def records(self):
        said = self._world.laptop.run("dig", "+short", f"_25._tcp.{self._owner.hostname}", "TLSA").out.splitlines()
        return frozenset("".join(line.split()[3:]).lower() for line in said)

    def run(self):
        while not self._ended.is_set():
            with self._asking:
                try:
                    self._ask()
                except WorldError as error:
                    self.wrong.append(str(error))
                self.rounds += 1
            self._ended.wait(0.5)

    def _ask(self):
        postfix = self._world.peer.run(
            "posttls-finger", "-c", "-l", "dane-only", "-L", "summary", "-o", "smtp_dns_support_level=dnssec", self._owner.domain,
            check=False, timeout=30,
        ).text  # fmt: skip
        if "Verified TLS connection established" not in postfix:
            self.wrong.append(postfix)
        self._sets.add(self.records())
        for pins in self._sets:
            accepted, said = self.by(pins)
            if not accepted:
                self.wrong.append(f"{pins}: {said}")

    def by(self, pins):
        """Whether openssl accepts the server by these records, and what it said."""
        rrs = [word for pin in pins for word in ("-dane_tlsa_rrdata", f"3 1 1 {pin}")]
        said = self._world.laptop.run(
            "openssl", "s_client", "-connect", f"{self._owner.hostname}:25", "-starttls", "smtp", "-brief",
            "-verify_return_error", "-dane_tlsa_domain", self._owner.hostname, *rrs, input="QUIT\r\n", check=False, timeout=30,
        ).text  # fmt: skip
        return "DANE TLSA 3 1 1" in said and "Verification: OK" in said, said

    def turn(self, seconds):
        """Hours went by for the role: the sets of before are forgotten, as their TTL has passed."""
        with self._asking:
            self._owner.turn_clock("certs", seconds)
            self._sets.clear()

    def more(self, rounds):
        wanted = self.rounds + rounds
        wait_for(lambda: self.rounds >= wanted, 120, "the senders to ask")
        assert not self.wrong, "\n".join(self.wrong)

    def close(self):
        self._ended.set()
        self.join(60)


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
    wait_everywhere(world, owner, leaf_of(after))
    # Nothing of the validation stays, once resolvers have forgotten it.
    asked = ("dig", "+short", f"_acme-challenge.{owner.hostname}", "TXT")
    wait_for(lambda: not world.laptop.run(*asked).out.strip(), 30, "the validation's record to go", interval=1)
    owner.box.run("nft -f /etc/nftables.conf")


def test_a_key_is_changed_and_no_sender_who_checks_dane_is_ever_turned_away(world, disposable):
    owner = disposable
    senders = DaneSenders(world, owner)

    def run():
        owner.box.run("systemctl", "start", "mailstead-certs.service", timeout=200)
        return status(owner)

    def wait_records(*wanted):
        def look():
            if (pins := senders.records()) != set(wanted):
                raise WorldError(f"the records are {pins}")
            return True

        wait_for(look, 60, "the TLSA records", interval=1)

    try:
        senders.more(2)
        old = status(owner)["spki"]
        owner.run("certificate", "roll", timeout=200)
        new = owner.box.read(f"{TLS}/next.spki").strip()
        wait_records(old, new)
        assert run()["stage"]["seen"]
        # A renewal in the meantime keeps the key.
        owner.run("certificate", "renew", timeout=200)
        assert (now := status(owner))["spki"] == old and now["stage"]["is"] == "announced"
        senders.more(3)

        # Resolvers may remember the records of before for their TTL, and two of these are waited for.
        senders.turn(HOUR + 1800)
        assert run()["spki"] == old
        senders.turn(2 * HOUR + 300)
        before = owner.box.read(f"{TLS}/chain.pem")
        senders.more(2)
        began = time.monotonic()
        now = run()
        assert (now["spki"], now["stage"]["is"]) == (new, "retiring")
        after = owner.box.read(f"{TLS}/chain.pem")
        assert after != before
        wait_everywhere(world, owner, leaf_of(after))
        assert time.monotonic() - began < 60
        wait_records(old, new)
        senders.more(3)
        title = mail.subject("by the new key")
        outcome = mail.peer_outcome(world, mail.peer_sends(world, owner.email, title))
        assert outcome[0] == "sent", outcome
        assert "Verified TLS connection established to box.example.com" in mail.peer_log(world)

        # An hour later the old record goes, and only now.
        senders.turn(3 * HOUR + 600)
        assert run()["stage"]["is"] == "steady"
        wait_records(new)
        senders.more(3)
        assert not senders.by({old})[0], "the judge can tell"
    finally:
        senders.close()


FOREIGN = r"""
set -e; cd /run
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 90 -subj '/CN=Known to nobody'
names=$(openssl x509 -in /var/lib/mailstead/tls/chain.pem -noout -ext subjectAltName | tail -n 1 | tr -d ' ')
printf "subjectAltName=$names\nbasicConstraints=critical,CA:FALSE\n" > extensions
openssl req -new -key /var/lib/mailstead/tls/key.pem -subj /CN=box.example.com -out request
openssl x509 -req -in request -CA ca.pem -CAkey ca.key -days 60 -extfile extensions -out leaf.pem
cat leaf.pem ca.pem > foreign.pem
"""
SERVE_IT = r"""
set -e; cd /var/lib/mailstead/tls
cat /run/foreign.pem key.pem > pair.new; chown ms-certs:ms-tls pair.new; chmod 640 pair.new; mv pair.new pair.pem
install -o ms-certs -g ms-tls -m 644 /run/foreign.pem chain.new; mv chain.new chain.pem
"""


def test_a_certificate_that_nobody_trusts_is_replaced_but_not_one_that_the_owner_imported(world, disposable):
    owner = disposable
    owner.box.run(FOREIGN)
    owner.box.run(SERVE_IT)
    trusted = ("status", "--group", "certificate-trusted")
    wait_for(lambda: "Known to nobody" in owner.run(*trusted, check=False).out, 60, "the check to see it", interval=2)
    mended = owner.run("status", "--mend", "certificate-trusted", check=False, timeout=200)
    assert mended.ok and "Pebble" in status(owner)["issuer"], mended.text
    wait_everywhere(world, owner, leaf_of(owner.box.read(f"{TLS}/chain.pem")))
    # The next run has nothing to do.
    chain = owner.box.read(f"{TLS}/chain.pem")
    owner.box.run("systemctl", "start", "mailstead-certs.service", timeout=200)
    assert owner.box.read(f"{TLS}/chain.pem") == chain
    owner.run("certificate", "import", "/run/foreign.pem", f"{TLS}/key.pem", timeout=200)
    owner.box.run("systemctl", "start", "mailstead-certs.service", timeout=200)
    assert status(owner)["imported"] and "Known to nobody" in status(owner)["issuer"]
    # Once the owner gives it up, the box has one that is trusted again.
    owner.run("certificate", "import", "--remove", timeout=200)
    assert "Pebble" in status(owner)["issuer"]


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
