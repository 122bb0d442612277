"""What other domains promise about TLS is held to: DANE and MTA-STS against a real Postfix, right and wrong."""

import json
import time

import pytest

from small_internet import mail
from small_internet.settings import SERVICE_HOSTS
from small_internet.shell import WorldError, run, wait_for

TLSA = "_25._tcp.mail.peer.org"
STS_SERVER = """\
import http.server, ssl
class Policy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open("/srv/mta-sts.txt", "rb").read()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/etc/sts.pem", "/etc/sts.key")
server = http.server.ThreadingHTTPServer(("", 443), Policy)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def key_digest(world):
    """What a TLSA record 3 1 1 says of the peer's certificate, by OpenSSL."""
    certificate = world.peer.path("/etc/postfix/cert.pem")
    public = run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"]).out
    script = "openssl pkey -pubin -outform DER | openssl dgst -sha256 -r"
    return run(["sh", "-c", script], input=public).out.split()[0]


def send(world, owner, words):
    title = mail.subject(words)
    mail.submit(world, owner.email, owner.password, "friend@peer.org", title, server=owner.hostname)
    return title


def trace(owner, title):
    """The steps of the one message of that title."""
    found = json.loads(owner.run("trace", "--json", *title.split(), check=False).out or "[]")
    return found[0]["steps"] if found else []


def wait_for_step(owner, title, what):
    def there():
        steps = [step for step in trace(owner, title) if step["what"] == what]
        return steps[0] if steps else None

    return wait_for(there, 40, f"{title} to be {what}", interval=0.5)


@pytest.fixture
def promises(world):
    """The peer without promises before and after."""

    def settle():
        # The box's own resolver keeps answers for their TTL of five seconds.
        time.sleep(7)

    yield settle
    for name, kind in ((TLSA, "TLSA"), ("_mta-sts.peer.org", "TXT"), ("mta-sts.peer.org", "A")):
        world.names.record(name, kind)
    world.peer.run("postconf", "smtpd_tls_security_level=may")
    world.peer.run("postfix", "reload")
    world.peer.run("sh", "-c", "pkill -f [s]ts-server.py || true")
    settle()


def test_a_peer_with_dane_is_verified_by_it(world, settled, promises):
    world.names.record(TLSA, "TLSA", f"3 1 1 {key_digest(world)}")
    promises()
    title = send(world, settled, "verified by dane")
    mail.wait_for_peer_mail(world, title)
    assert "DANE" in wait_for_step(settled, title, "sent")["security"]


def test_a_peer_whose_key_is_not_the_promised_one_gets_nothing_until_it_is(world, settled, promises):
    world.names.record(TLSA, "TLSA", f"3 1 1 {'ab' * 32}")
    promises()
    title = send(world, settled, "not to a stranger")
    put_off = wait_for_step(settled, title, "put-off")
    assert "DANE" in put_off["words"] or "TLSA" in put_off["words"], put_off
    world.names.record(TLSA, "TLSA", f"3 1 1 {key_digest(world)}")
    promises()
    settled.run("queue", "retry", "--to", "peer.org")
    mail.wait_for_peer_mail(world, title)


def test_whoever_strips_starttls_gets_no_plain_text(world, settled, promises):
    world.names.record(TLSA, "TLSA", f"3 1 1 {key_digest(world)}")
    world.peer.run("postconf", "smtpd_tls_security_level=none")
    world.peer.run("postfix", "reload")
    promises()
    title = send(world, settled, "never in the clear")
    wait_for_step(settled, title, "put-off")
    with pytest.raises(WorldError):
        mail.wait_for_peer_mail(world, title, timeout=5)
    world.peer.run("postconf", "smtpd_tls_security_level=may")
    world.peer.run("postfix", "reload")
    promises()
    settled.run("queue", "retry", "--to", "peer.org")
    mail.wait_for_peer_mail(world, title)


def test_an_enforced_mta_sts_policy_is_held_to(world, settled, promises):
    peer = world.peer
    world._authority.issue("mta-sts.peer.org", peer.path("/etc/sts.pem"), peer.path("/etc/sts.key"))
    peer.write("/srv/sts-server.py", STS_SERVER)

    def policy(exchanger, number):
        peer.write("/srv/mta-sts.txt", f"version: STSv1\r\nmode: enforce\r\nmx: {exchanger}\r\nmax_age: 86400\r\n")
        world.names.record("_mta-sts.peer.org", "TXT", f"v=STSv1; id={number}")

    policy("mail.peer.org", 1)
    world.names.record("mta-sts.peer.org", "A", SERVICE_HOSTS["peer"].ipv4)
    peer.run("sh", "-c", "setsid python3 -u /srv/sts-server.py >/var/log/sts.log 2>&1 &")
    promises()
    title = send(world, settled, "verified by policy")
    mail.wait_for_peer_mail(world, title)
    assert "MTA-STS" in wait_for_step(settled, title, "sent")["security"]


def test_delays_and_refusals_are_told_with_their_meaning(world, settled):
    title = mail.subject("for later again")
    mail.submit(world, settled.email, settled.password, "later@peer.org", title, server=settled.hostname)
    step = wait_for_step(settled, title, "put-off")
    assert (step["code"], step["enhanced"]) == (450, "4.2.0") and "come back later" in step["words"]
    told = settled.run("trace", *title.split()).out
    assert "450" in told and "sent by" in told
    ids = [entry["id"] for entry in json.loads(settled.run("queue", "--json").out)]
    settled.run("queue", "remove", *ids)
    assert "empty" in settled.run("queue").out
