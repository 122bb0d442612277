"""What the web server does for the domains: their sites, the settings that mail programs ask for, and Apple's profiles."""

import http.server
import json
import socket
import subprocess
import threading

import pytest
from outside.box import Box, eventually

DOMAIN = "demo.example"
POX = (
    '<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/'
    'requestschema/2006"><Request><EMailAddress>{}</EMailAddress><AcceptableResponseSchema>http://schemas.microsoft.com/'
    "exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>"
)


def curl(box, name, path, *more):
    """A page as curl gets it over verified TLS: status, headers by lower-case name, body."""
    host, port = box.at("https")
    words = ["curl", "-sS", "-i", "--max-time", "20", "--cacert", box.endpoints["ca_file"], "--path-as-is"]
    words += ["--connect-to", f"{name}:443:{host}:{port}", f"https://{name}{path}", *more]
    done = subprocess.run(words, capture_output=True, check=True)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return first, headers, body


def status(first):
    return int(first.split()[1])


@pytest.mark.parametrize(
    "name, path",
    [
        (f"autoconfig.{DOMAIN}", f"/mail/config-v1.1.xml?emailaddress=ann%40{DOMAIN}"),
        (DOMAIN, f"/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=ann%40{DOMAIN}"),
    ],
)
def test_thunderbird_gets_its_settings(box, name, path):
    first, headers, body = curl(box, name, path, "-A", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Thunderbird/128.0")
    assert status(first) == 200 and headers["content-type"].startswith("text/xml")
    assert f"<hostname>{box.hostname}</hostname>".encode() in body and f'id="{DOMAIN}"'.encode() in body


@pytest.mark.parametrize("path", ["/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml"])
@pytest.mark.parametrize("name", [f"autodiscover.{DOMAIN}", DOMAIN])
def test_outlook_gets_its_settings_and_the_same_for_addresses_that_do_not_exist(box, name, path):
    answers = set()
    for address in (f"ann@{DOMAIN}", f"nobody@{DOMAIN}"):
        first, _, body = curl(box, name, path, "-H", "Content-Type: text/xml", "--data-binary", POX.format(address))
        assert status(first) == 200 and f"<LoginName>{address}</LoginName>".encode() in body
        answers.add(body.replace(address.encode(), b"ADDRESS"))
    assert len(answers) == 1


def test_newer_outlooks_ask_in_json(box):
    path = f"/autodiscover/autodiscover.json?Email=ann%40{DOMAIN}&Protocol=Autodiscoverv1&RedirectCount=1"
    first, _, body = curl(box, f"autodiscover.{DOMAIN}", path)
    assert status(first) == 200 and json.loads(body)["Protocol"] == "Autodiscoverv1"


def test_apples_profile_is_signed_with_the_boxs_certificate(box, tmp_path):
    profile = box.folder / f"var/lib/mailstead/tls/profiles/{DOMAIN}.mobileconfig"
    eventually(profile.exists, 30, "the profile")
    first, headers, body = curl(box, box.hostname, f"/setup/profiles/{DOMAIN}.mobileconfig")
    assert status(first) == 200 and headers["content-type"] == "application/x-apple-aspen-config"
    (tmp_path / "profile").write_bytes(body)
    said = subprocess.run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-binary", "-purpose", "any", "-in", tmp_path / "profile"]
        + ["-CAfile", box.endpoints["ca_file"], "-out", tmp_path / "inside"],
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    subprocess.run(["xmllint", "--noout", "--nonet", tmp_path / "inside"], check=True)
    assert box.hostname in (tmp_path / "inside").read_text()
    for other in ("/setup/profiles/made", "/setup/profiles/..%2fkey.pem", "/setup/profiles/../key.pem"):
        assert status(curl(box, box.hostname, other)[0]) in (400, 404), other


def test_the_page_for_people_needs_no_login(box):
    first, headers, body = curl(box, box.hostname, f"/setup?domain=ann%40{DOMAIN}")
    assert status(first) == 200 and b"<svg" in body and b"port 993" in body
    assert "script" not in headers["content-security-policy"] and b"<script" not in body


def test_every_answer_has_sane_headers_and_comes_over_http_2(box):
    for name, path in [(DOMAIN, "/"), (DOMAIN, "/absent"), (box.hostname, "/admin/login"), (f"mta-sts.{DOMAIN}", "/")]:
        first, headers, _ = curl(box, name, path)
        assert first.startswith("HTTP/2 "), first
        assert headers["strict-transport-security"].startswith("max-age=") and headers["x-content-type-options"] == "nosniff"
        assert "x-frame-options" in headers and "referrer-policy" in headers and headers["server"] == "nginx"


@pytest.fixture(scope="module")
def sites(binary, world, tmp_path_factory):
    """A box with a folder, two redirects and a proxy, and the program behind that."""

    class Program(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            words = "|".join([self.path, self.headers["Host"], self.headers["X-Forwarded-Proto"]]).encode()
            self.send_response(200)
            self.send_header("X-Frame-Options", "DENY")
            self.end_headers()
            self.wfile.write(words)

        def log_message(self, *_):
            pass

    program = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Program)
    threading.Thread(target=program.serve_forever, daemon=True).start()
    folder = tmp_path_factory.mktemp("sites")
    etc = folder / "etc/mailstead"
    etc.mkdir(parents=True)
    (etc / "box.yaml").write_text(
        f"email: ann@{DOMAIN}\nhostname: box.{DOMAIN}\ndns: box\nsites:\n"
        f"  {DOMAIN}: {{ folder: /srv/site }}\n  old.{DOMAIN}: {{ redirect: 'https://{DOMAIN}' }}\n"
        f"  moved.{DOMAIN}: {{ redirect: 'https://{DOMAIN}/there?x=1' }}\n"
        f"  app.{DOMAIN}: {{ proxy: 'http://127.0.0.1:{program.server_port}' }}\n"
    )
    for path, text in {"srv/site/index.html": "home", "srv/site/.secret": "s", "var/www/second.test/index.html": "second"}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    box = Box(folder, binary, "--resolver", f"127.0.0.1:{world.port}").start()
    yield box
    box.stop()
    program.shutdown()


def test_sites_are_folders_redirects_and_programs(sites):
    assert curl(sites, DOMAIN, "/")[2] == b"home" and curl(sites, f"www.{DOMAIN}", "/")[2] == b"home"
    assert status(curl(sites, DOMAIN, "/.secret")[0]) == 404
    plain = ["-k"]  # names that the demo's certificate does not have
    first, headers, _ = curl(sites, f"old.{DOMAIN}", "/a?b=c", *plain)
    assert status(first) == 301 and headers["location"] == f"https://{DOMAIN}/a?b=c"
    assert curl(sites, f"moved.{DOMAIN}", "/a", *plain)[1]["location"] == f"https://{DOMAIN}/there?x=1"
    first, headers, body = curl(sites, f"app.{DOMAIN}", "/page?q=1", *plain)
    assert status(first) == 200 and body == f"/page?q=1|app.{DOMAIN}|https".encode()
    assert headers["x-frame-options"] == "deny", "the program's own word stands"
    # A site keeps the settings for mail programs.
    assert b"clientConfig" in curl(sites, f"app.{DOMAIN}", "/.well-known/autoconfig/mail/config-v1.1.xml", *plain)[2]


def test_a_domain_without_a_site_has_its_own_folder_or_a_small_page(sites):
    assert curl(sites, "second.test", "/", "-k")[2] == b"second" and curl(sites, "www.second.test", "/", "-k")[2] == b"second"
    assert b"used for mail" in curl(sites, "third.test", "/", "-k")[2]
    assert status(curl(sites, "third.test", "/other", "-k")[0]) == 404
    # Nobody walks out of the folders by the name that they ask for.
    with pytest.raises(subprocess.CalledProcessError):
        curl(sites, "..%2f..", "/etc/passwd", "-k")


def test_a_site_that_makes_no_sense_is_refused_in_one_sentence(binary, tmp_path):
    etc = tmp_path / "etc/mailstead"
    etc.mkdir(parents=True)
    for site, words in [
        ("{ folder: /etc }", "/var/www or /srv"),
        ("{ proxy: 'http://127.0.0.1:3000; }' }", "http://127.0.0.1:8080"),
        ("{ folder: /srv/a, redirect: 'https://a.org' }", "one of the keys"),
    ]:
        text = f"email: ann@{DOMAIN}\nhostname: box.{DOMAIN}\ndns: box\nsites:\n  a.org: {site}\n"
        (etc / "box.yaml").write_text(text)
        said = subprocess.run([binary, "--box", tmp_path, "plan"], capture_output=True, text=True)
        assert said.returncode != 0 and words in said.stderr and said.stderr.count("\n") == 1, said.stderr
    (etc / "box.yaml").write_text(text.replace("a.org: { folder: /srv/a, redirect: 'https://a.org' }", f"box.{DOMAIN}: {{ folder: /srv/a }}"))
    said = subprocess.run([binary, "--box", tmp_path, "plan"], capture_output=True, text=True)
    assert "the box itself needs the name" in said.stderr


def test_a_client_that_sends_no_name_gets_the_panels_door(box):
    with socket.create_connection(box.at("http"), timeout=20) as plain:
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"301" in plain.recv(200)
