"""One certificate on every port, and a new one without a restart; what the web server serves."""

import http.client
import json
import shutil
import smtplib
import socket
import ssl
import subprocess

import pytest
from outside.box import eventually


def served(box, service):
    """The certificate that a careful client gets, in DER."""
    host, port = box.at(service)
    if service in ("smtp", "submission"):
        with smtplib.SMTP(host, port, timeout=20) as link:
            link._host = box.hostname  # the name that smtplib has TLS verify
            link.starttls(context=box.trust())
            return link.sock.getpeercert(binary_form=True)
    with socket.create_connection((host, port), timeout=20) as plain:
        if service == "managesieve":
            starttls(plain)
        with box.trust().wrap_socket(plain, server_hostname=box.hostname) as link:
            return link.getpeercert(binary_form=True)


def starttls(plain):
    """As a ManageSieve client asks for TLS (RFC 5804 §2.2)."""
    stream = plain.makefile("rb")
    for words in (b"", b"STARTTLS\r\n"):
        plain.sendall(words)
        while not (line := stream.readline()).startswith(b"OK"):
            assert line, "the server closed the connection"


PORTS = ("smtp", "submission", "submissions", "imaps", "pop3s", "managesieve", "https")


def test_every_port_serves_the_same_certificate_and_it_verifies(box):
    assert len({served(box, service) for service in PORTS}) == 1


@pytest.mark.parametrize("service", PORTS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_of_tls_are_refused(box, service):
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.options |= ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_3
    old.set_ciphers("ALL:@SECLEVEL=0")
    host, port = box.at(service)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        if service in ("smtp", "submission"):
            with smtplib.SMTP(host, port, timeout=20) as link:
                link.starttls(context=old)
        else:
            with socket.create_connection((host, port), timeout=20) as plain:
                if service == "managesieve":
                    starttls(plain)
                old.wrap_socket(plain)


def test_a_new_certificate_is_served_without_a_restart(own_box, tmp_path):
    before = {service: served(own_box, service) for service in PORTS}
    processes = own_box.children()
    tls = own_box.folder / "var/lib/mailstead/tls"
    subprocess.run(
        ["openssl", "req", "-x509", "-key", tls / "key.pem", "-days", "9", "-subj", "/CN=new", "-out", tmp_path / "new.pem"]
        + ["-addext", f"subjectAltName=DNS:{own_box.hostname}"],
        check=True,
        capture_output=True,
    )
    (tls / "pair.pem.tmp").write_text((tmp_path / "new.pem").read_text() + (tls / "key.pem").read_text())
    (tls / "pair.pem.tmp").rename(tls / "pair.pem")
    shutil.copy(tmp_path / "new.pem", own_box.endpoints["ca_file"])
    new = ssl.PEM_cert_to_DER_cert((tmp_path / "new.pem").read_text())
    assert new not in before.values()

    def all_new():
        try:
            return all(served(own_box, service) == new for service in PORTS)
        except ssl.SSLCertVerificationError:
            return False

    eventually(all_new, 90, "the new certificate on every port")
    assert own_box.children() == processes


def get(box, name, path):
    """A page as the virtual host of that name serves it, over verified TLS."""
    host, port = box.at("https")
    link = http.client.HTTPSConnection(host, port, context=box.trust(), timeout=20)
    link._context.check_hostname = False  # the name is checked below, as SNI
    with socket.create_connection((host, port), timeout=20) as plain:
        link.sock = box.trust().wrap_socket(plain, server_hostname=name)
        link.request("GET", path, headers={"Host": name})
        answer = link.getresponse()
        return answer.status, answer.headers, answer.read().decode()


def test_the_mta_sts_policy_is_served_under_its_name(box):
    status, headers, policy = get(box, "mta-sts.demo.example", "/.well-known/mta-sts.txt")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    fields = dict(line.split(": ", 1) for line in policy.splitlines())
    assert fields["version"] == "STSv1" and fields["mx"] == box.hostname
    assert fields["mode"] in ("testing", "enforce") and 86_400 <= int(fields["max_age"]) <= 31_557_600


def test_plain_http_leads_to_https(box):
    link = http.client.HTTPConnection(*box.at("http"), timeout=20)
    link.request("GET", "/admin", headers={"Host": box.hostname})
    answer = link.getresponse()
    assert answer.status == 301 and answer.headers["Location"].startswith("https://")


def test_the_endpoints_are_written_for_programs(box):
    text = (box.folder / "endpoints.json").read_text()
    assert {"smtp", "submission", "submissions", "imaps", "dns", "https", "ca_file"} <= set(json.loads(text))
    assert (box.folder / "endpoints.json").stat().st_mode & 0o077 == 0  # it holds a password
