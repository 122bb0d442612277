"""Certificates from an authority: by records and by files, without the names that fail, from a second authority when the
first is away, and served on every port within a minute."""

import email.utils
import json
import re
import shutil
import ssl
import subprocess
import time

import pytest
from outside import names
from outside.authority import Busy, Pebble, free_port
from outside.box import Box, eventually
from test_certificates import PORTS, served

pytestmark = pytest.mark.skipif(not shutil.which("pebble"), reason="Pebble is not installed")

ZONE = "demo.example"


class Internet:
    """A resolver, an authority and a box whose zone is delegated to it."""

    def __init__(self, folder, binary, *, http_works=True, extra="", accounts=None):
        self.folder, self.resolver = folder, names.Names()
        self.box = Box(folder / "box", binary, "--resolver", f"127.0.0.1:{self.resolver.port}")
        self.closed = free_port()
        http = self.box.base_port + 6 if http_works else self.closed
        self.authority = Pebble(folder / "pebble", self.resolver.port, http, accounts).start()
        self.write(f"acme:\n  directory: {self.authority.directory}\n  ca_file: {self.authority.ca_file}\n{extra}")
        self.resolver.zones, self.resolver.authority = (ZONE,), ("127.0.0.1", self.box.base_port + 8)

    def write(self, options):
        etc = self.folder / "box/etc/mailstead"
        etc.mkdir(parents=True, exist_ok=True)
        (etc / "box.yaml").write_text(f"email: ann@{ZONE}\nhostname: box.{ZONE}\ndns: box\n{options}")

    def start(self):
        """Starts the box, which asks for its certificate at once."""
        self.box.start()
        eventually(lambda: self.status()["last"], 150, "the first run of the certs role")
        (self.folder / "root.pem").write_text(self.authority.root())
        self.box.endpoints["ca_file"] = str(self.folder / "root.pem")
        return self.box

    def status(self):
        return self.box.json("certificate", "status")

    def close(self):
        self.box.stop()
        self.authority.stop()
        self.resolver.close()


@pytest.fixture
def internet(tmp_path, binary):
    made = []

    def make(**how):
        made.append(Internet(tmp_path, binary, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()


def chain(box):
    return (box.folder / "var/lib/mailstead/tls/chain.pem").read_text()


def served_now(box, port):
    """The certificate of a port; None while it is still the box's own, which nobody trusts."""
    try:
        return served(box, port)
    except ssl.SSLCertVerificationError:
        return None


def test_the_zone_shows_the_authority_and_every_port_serves_the_new_certificate(internet):
    world = internet(http_works=False)
    box = world.start()
    status = world.status()
    assert {f"box.{ZONE}", f"mta-sts.{ZONE}", f"autoconfig.{ZONE}", ZONE} <= set(status["names"])
    assert not status["own"] and status["days_left"] in (89, 90) and not status["left_out"]
    # This authority suggests nothing (RFC 9773): a third of its life before its end.
    life = status["not_after"] - status["not_before"]
    assert status["window"] is None and abs(status["not_after"] - status["renewal_at"] - life / 3) < 2
    leaf = ssl.PEM_cert_to_DER_cert(chain(box).split("-----END")[0] + "-----END CERTIFICATE-----\n")
    eventually(lambda: all(served_now(box, port) == leaf for port in PORTS), 60, "the certificate on every port")
    # The key was kept, and nothing of the validation stays in the zone.
    key = subprocess.run(["openssl", "pkey", "-in", box.folder / "var/lib/mailstead/tls/key.pem", "-pubout"], capture_output=True)
    public = subprocess.run(["openssl", "x509", "-pubkey", "-noout"], input=chain(box).encode(), capture_output=True)
    assert key.stdout == public.stdout
    zone = (box.folder / f"var/lib/mailstead/zones/{ZONE}.zone").read_text()
    assert "_acme-challenge" not in zone and f"{status['spki']}" in zone.lower()
    # A second run has nothing to do.
    before = chain(box)
    box.run("run", "certs")
    assert chain(box) == before
    # The account is told, for CAA records that allow it alone.
    uri = (box.folder / "var/lib/mailstead/tls/account-uri").read_text()
    assert uri.startswith("https://localhost:") and uri.count("\n") == 1


def test_a_name_in_nobodys_zone_is_shown_by_a_file(internet):
    world = internet(extra="sites:\n  fine.test: { redirect: 'https://demo.example' }\n")
    world.resolver.add("fine.test", names.a("127.0.0.1"))
    box = world.start()
    status = world.status()
    assert {"fine.test", f"box.{ZONE}"} <= set(status["names"]) and not status["left_out"]
    assert "www.fine.test" in status["last"]["elsewhere"]
    assert "fine.test" in box.run("certificate").stdout


def test_a_site_below_a_domain_of_the_box_leads_there_by_itself_and_has_its_certificate(internet):
    site = "{ redirect: 'https://demo.example' }"
    world = internet(http_works=False, extra=f"sites:\n  shop.{ZONE}: {site}\n  shop.elsewhere.test: {site}\n")
    box = world.start()
    shown = box.run("dns", "records", "--format", "json")
    leads = {(one["name"], one["kind"]) for one in json.loads(shown.stdout) if one["kind"] in ("A", "AAAA")}
    assert {(f"shop.{ZONE}", "A"), (f"www.shop.{ZONE}", "A")} <= leads
    assert "shop.elsewhere.test lies in no domain of this box" in shown.stderr and shown.stderr.count("\n") == 1
    assert {f"shop.{ZONE}", f"www.shop.{ZONE}"} <= set(world.status()["names"])
    # The owner leads it elsewhere as any name.
    box.run("dns", "add", f"shop.{ZONE}", "A", "198.51.100.9")
    zone = box.json("dns", "zone")
    assert [one["value"] for one in zone if one["name"] == f"shop.{ZONE}" and one["kind"] == "A"] == ["198.51.100.9"]


def test_one_name_that_fails_does_not_hold_back_the_others(internet):
    world = internet(http_works=False, extra="sites:\n  broken.test: { redirect: 'https://demo.example' }\n")
    world.resolver.add("broken.test", names.a("127.0.0.1"))  # only a file could show it, and nobody reaches port 80
    box = world.start()
    status = world.status()
    assert f"box.{ZONE}" in status["names"] and "broken.test" not in status["names"]
    failure = status["left_out"]["broken.test"]
    assert failure["why"].startswith("http-01: ") and failure["count"] == 1
    # It is not asked for again at once, unless the owner says so.
    orders = world.authority.log().count("Added order")
    box.run("run", "certs")
    assert world.authority.log().count("Added order") == orders
    box.run("certificate", "renew")
    assert world.status()["left_out"]["broken.test"]["count"] == 2


def test_a_second_authority_is_asked_when_the_first_is_away_and_a_lost_account_is_made_anew(internet):
    world = internet(http_works=False)
    away = f"acme:\n  directory: https://localhost:{free_port()}/dir\n  fallback:\n"
    world.write(f"{away}  - directory: {world.authority.directory}\n    ca_file: {world.authority.ca_file}\n")
    box = world.start()
    assert f"box.{ZONE}" in world.status()["names"]
    first = chain(box)
    # Pebble forgets everything when it ends.
    world.authority.stop()
    world.authority.start()
    box.run("certificate", "renew")
    assert chain(box) != first


def ledger(box):
    return json.loads((box.folder / "var/lib/mailstead/certs/ledger.json").read_text())


@pytest.mark.parametrize(
    ("status", "written"),
    [(429, lambda at: str(int(at - time.time()))), (503, lambda at: email.utils.formatdate(at, usegmt=True))],
    ids=["too many requests, in seconds", "unavailable, until a date"],
)
def test_an_authority_that_says_when_to_come_again_is_left_alone_until_then(internet, status, written):
    world = internet(http_works=False)
    until = time.time() + 3 * 3600
    busy = Busy(world.authority, written(until), status)
    world.write(f"acme:\n  directory: {busy.directory}\n  ca_file: {world.authority.ca_file}\n")
    box = world.start()
    try:
        last = world.status()["last"]
        assert last["failed"] and "too many today" in last["words"]
        assert abs(ledger(box)["closed"][busy.directory]["until"] - until) < 60
        assert busy.orders == 1
        # Neither the timer nor the owner has it asked before.
        box.run("run", "certs", check=False)
        assert "it is left alone until" in box.run("certificate", "renew", check=False).stderr
        assert busy.orders == 1 and world.status()["own"]
        # Another authority is asked in the meantime, and a renewal as well is refused only once.
        file, first = box.folder / "etc/mailstead/box.yaml", f"  ca_file: {world.authority.ca_file}\n"
        also = f"  fallback:\n  - directory: {world.authority.directory}\n    ca_file: {world.authority.ca_file}\n"
        assert first in file.read_text()
        file.write_text(file.read_text().replace(first, first + also))
        box.run("certificate", "renew")
        assert "Pebble" in world.status()["issuer"] and busy.orders == 1
        kept = ledger(box)
        kept["closed"] = {}
        (box.folder / "var/lib/mailstead/certs/ledger.json").write_text(json.dumps(kept))
        box.run("certificate", "renew")
        assert busy.orders == 2
    finally:
        busy.close()


def test_an_account_that_the_owner_has_with_an_authority_is_used(internet, tmp_path):
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    world = internet(http_works=False, accounts={"kid-1": key})
    ca = f"acme:\n  directory: {world.authority.directory}\n  ca_file: {world.authority.ca_file}\n"
    world.write(f"{ca}  eab: {{ kid: kid-1, hmac_file: {tmp_path / 'hmac'} }}\n")
    (tmp_path / "hmac").write_text("not the key\n")
    box = world.start()
    assert world.status()["own"] and world.status()["last"]["failed"]
    (tmp_path / "hmac").write_text(key + "\n")
    box.run("certificate", "renew")
    assert f"box.{ZONE}" in world.status()["names"] and not world.status()["own"]
    assert key not in box.run("certificate").stdout


def test_a_change_of_key_is_announced_in_the_zone_before_it_is_served(internet):
    world = internet(http_works=False)
    box = world.start()
    tls = box.folder / "var/lib/mailstead/tls"
    before, key = chain(box), (tls / "key.pem").read_text()
    box.run("certificate", "roll")
    status = world.status()
    assert status["stage"]["is"] == "announced" and "TLSA" in status["next"]
    following = (tls / "next.spki").read_text().strip()
    assert len(following) == 64 and following != status["spki"]
    asked = ["dig", "+short", "-p", str(box.at("dns")[1]), "@127.0.0.1", f"_25._tcp.box.{ZONE}", "TLSA"]

    def both():
        answer = subprocess.run(asked, capture_output=True, text=True).stdout.lower().replace(" ", "")
        return following in answer and status["spki"] in answer

    eventually(both, 20, "both keys' TLSA records")
    # Seen everywhere; but resolvers may remember the records of before for two hours.
    box.run("run", "certs")
    assert world.status()["stage"]["seen"] and (chain(box), (tls / "key.pem").read_text()) == (before, key)
    # A renewal in the meantime keeps the key.
    box.run("certificate", "renew")
    assert world.status()["spki"] == status["spki"] and chain(box) != before


def own_certificate(folder, hostname, name="own"):
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90"]
        + ["-subj", f"/CN={hostname}", "-addext", f"subjectAltName=DNS:{hostname}", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_a_certificate_that_an_authority_of_the_owners_choice_made_of_the_boxs_request_needs_no_key(internet, tmp_path):
    world = internet(http_works=False)
    box = world.start()
    spki, names = world.status()["spki"], set(world.status()["names"])

    def openssl(*words):
        return subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True, text=True)

    (tmp_path / "request.pem").write_text(box.run("certificate", "request").stdout)
    shown = openssl("req", "-in", "request.pem", "-noout", "-verify", "-text")
    assert "verify OK" in shown.stdout + shown.stderr and names == set(re.findall(r"DNS:([^,\s]+)", shown.stdout)), shown.stdout
    (tmp_path / "one.pem").write_text(box.run("certificate", "request", f"mta-sts.{ZONE}").stdout)
    shown = openssl("req", "-in", "one.pem", "-noout", "-text").stdout
    assert re.findall(r"DNS:([^,\s]+)", shown) == [f"box.{ZONE}", f"mta-sts.{ZONE}"] and f"CN = box.{ZONE}" in shown
    own_certificate(tmp_path, "Firm", "ca")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-days", "60", "-copy_extensions", "copy"]
    openssl("x509", "-req", "-in", "request.pem", *signing, "-out", "chain.pem")
    box.run("certificate", "import", tmp_path / "chain.pem")
    status = world.status()
    assert status["imported"] and (status["spki"], set(status["names"])) == (spki, names)
    # One for another key needs that.
    other, _ = own_certificate(tmp_path, f"box.{ZONE}", "other")
    refused = box.run("certificate", "import", other, check=False)
    assert refused.returncode == 1 and "not for the key that is served" in refused.stderr


def test_a_certificate_of_the_owners_own_is_served_and_not_overwritten_until_it_is_removed(internet, tmp_path):
    world = internet(http_works=False)
    box = world.start()
    certificate, key = own_certificate(tmp_path, f"box.{ZONE}")
    _, other_key = own_certificate(tmp_path, f"box.{ZONE}", "other")
    refused = box.run("certificate", "import", certificate, other_key, check=False)
    assert refused.returncode == 1 and "does not belong" in refused.stderr and refused.stderr.count("\n") == 1
    # With another key it waits for its record, unless it is to be served now.
    box.run("certificate", "import", certificate, key)
    assert world.status()["stage"]["is"] == "announced" and not world.status()["imported"]
    box.run("certificate", "import", certificate, key, "--now")
    status = world.status()
    assert status["imported"] and status["renewal_at"] is None
    wanted = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    box.endpoints["ca_file"] = str(certificate)

    def everywhere():
        try:
            return all(served(box, port) == wanted for port in PORTS)
        except ssl.SSLCertVerificationError:
            return False

    eventually(everywhere, 60, "the owner's certificate on every port")
    box.run("certificate", "renew")
    assert chain(box) == certificate.read_text()
    box.run("certificate", "import", "--remove")
    status = world.status()
    assert not status["imported"] and "Pebble" in status["issuer"]
