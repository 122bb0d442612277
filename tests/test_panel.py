"""The panel as a browser sees it, and the status checks behind it."""

import html
import http.client
import http.cookies
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families


class Browser:
    """Keeps cookies and follows nothing; one connection per request."""

    def __init__(self, box):
        self.box, self.cookies = box, {}

    def ask(self, method, path, form=None):
        host, port = self.box.at("https")
        link = http.client.HTTPSConnection(host, port, context=self.box.trust(), timeout=30)
        with socket.create_connection((host, port), timeout=30) as plain:
            link.sock = self.box.trust().wrap_socket(plain, server_hostname=self.box.hostname)
            headers = {"Host": self.box.hostname}
            if self.cookies:
                headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            if form is not None:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            link.request(method, path, form and urllib.parse.urlencode(form), headers)
            answer = link.getresponse()
            body = answer.read().decode()
        for line in answer.headers.get_all("Set-Cookie", []):
            assert {"Secure", "HttpOnly", "SameSite=Strict"} <= {part.strip() for part in line.split(";")}
            for name, morsel in http.cookies.SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return answer.status, answer.headers, body

    def log_in(self, password, email=None, code=""):
        token = token_of(self.ask("GET", "/admin/login")[2])
        form = {"token": token, "email": email or self.box.email, "password": password, "code": code}
        return self.ask("POST", "/admin/login", form)


def token_of(page):
    return re.search(r'name="token" value="([^"]+)"', page).group(1)


@pytest.fixture
def browser(box):
    return Browser(box)


def test_without_a_login_there_is_only_the_login_page(browser):
    status, headers, _ = browser.ask("GET", "/admin")
    assert status == 303 and headers["Location"] == "/admin/login"
    status, headers, page = browser.ask("GET", "/admin/login")
    assert status == 200 and "Log in" in page and "<script" not in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_the_owner_logs_in_reads_the_status_and_logs_out(box, browser):
    box.run("status", check=False)  # the timer's work on a live box
    box.run("status", check=False)
    status, headers, _ = browser.log_in(box.password)
    assert status == 303 and headers["Location"] == "/admin"
    status, _, page = browser.ask("GET", "/admin")
    assert status == 200 and box.hostname in page and box.email in page
    assert browser.ask("POST", "/admin/logout", {"token": token_of(page)})[0] == 303
    assert browser.ask("GET", "/admin")[0] == 303


def test_a_wrong_password_does_not_get_in(browser):
    status, _, page = browser.log_in("not the password")
    assert status == 401 and "did not work" in page
    assert browser.ask("GET", "/admin")[0] == 303


def test_an_account_that_is_no_administrator_does_not_get_in(bob, browser):
    assert browser.log_in(bob[1], bob[0])[0] == 401
    assert browser.ask("GET", "/admin")[0] == 303


def test_a_second_factor_is_asked_for_and_is_that_of_any_authenticator(box, browser):
    made = json.loads(box.run("user", "second-factor", "add", box.email, "--json").stdout)
    assert made["uri"] == (
        f"otpauth://totp/{box.hostname}:{urllib.parse.quote(box.email, safe='').replace('.', '%2E')}"
        f"?secret={made['key']}&issuer={box.hostname}"
    )

    def code(seconds=0):
        when = f"{time.time() + seconds:.0f}"
        return subprocess.run(
            ["oathtool", "--totp", "--base32", f"--now=@{when}", made["key"]], capture_output=True, text=True, check=True
        ).stdout.strip()  # fmt: skip

    assert browser.log_in(box.password)[0] == 303, "it does not count yet"
    wrong = box.run("user", "second-factor", "confirm", box.email, stdin=code(3600) + "\n", check=False)
    assert wrong.returncode == 1 and "not the code of now" in wrong.stderr, wrong
    box.run("user", "second-factor", "confirm", box.email, stdin=code(-30) + "\n")
    try:
        assert "admin, second factor" in box.run("user", "list").stdout
        assert Browser(box).log_in(box.password)[0] == 401
        assert Browser(box).log_in("not the password", code=code())[0] == 401
        good = code()
        assert Browser(box).log_in(box.password, code=f"{good[:3]} {good[3:]}")[0] == 303
        assert Browser(box).log_in(box.password, code=good)[0] == 401, "a code lets in once"
    finally:
        box.run("user", "second-factor", "remove", box.email)
    assert Browser(box).log_in(box.password)[0] == 303


def test_a_form_from_elsewhere_is_not_accepted(box, browser):
    form = {"email": box.email, "password": box.password}
    assert browser.ask("POST", "/admin/login", form)[0] == 403
    assert browser.ask("POST", "/admin/login", {**form, "token": "0" * 64})[0] == 403
    # Another browser's token does not do either.
    other = token_of(Browser(box).ask("GET", "/admin/login")[2])
    browser.ask("GET", "/admin/login")
    assert browser.ask("POST", "/admin/login", {**form, "token": other})[0] == 403
    browser.log_in(box.password)
    assert browser.ask("POST", "/admin/logout", {"token": "wrong"})[0] == 403
    assert browser.ask("GET", "/admin")[0] == 200


def test_what_is_written_into_the_form_comes_back_as_text(browser):
    _, _, page = browser.log_in("x", '"><script>alert(1)</script>@x')
    assert "<script" not in page and html.escape("<script>") in page


class Stream:
    """The events of an open status page, and when each came."""

    def __init__(self, browser, path="/admin/events"):
        host, port = browser.box.at("https")
        self.link = browser.box.trust().wrap_socket(socket.create_connection((host, port), timeout=40), server_hostname=browser.box.hostname)
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        self.link.sendall(f"GET {path} HTTP/1.0\r\nHost: {browser.box.hostname}\r\nCookie: {cookies}\r\n\r\n".encode())  # so not in chunks
        self.lines = self.link.makefile("rb")
        self.head = "".join(iter(lambda: self.lines.readline().decode(), "\r\n"))

    def __iter__(self):
        for line in self.lines:
            if line.startswith(b"data:"):
                yield json.loads(line[5:])


def test_the_box_looks_again_when_asked_and_the_open_page_is_told_as_it_goes(own_box):
    browser = Browser(own_box)
    browser.log_in(own_box.password)
    page = browser.ask("GET", "/admin")[2]
    assert "The checks have not run yet" in page
    known = {check["id"] for check in own_box.json("status", "--list")}
    stream = Stream(browser)
    assert " 200 " in stream.head and "text/event-stream" in stream.head and "script-src" not in stream.head, stream.head
    events = iter(stream)
    assert not next(events)["running"]
    slow = own_box.children()["mailbox"]
    os.kill(slow, signal.SIGSTOP)  # it is there and does not answer
    assert browser.ask("POST", "/admin/look", {"token": "wrong"})[0] == 403
    assert browser.ask("POST", "/admin/look", {"token": token_of(page)})[0] == 303
    before, seen, began = set(), set(), time.monotonic()
    for event in events:
        seen |= {row["id"] for row in event["rows"]}
        if "service-mailbox" not in seen:
            before |= seen
        if seen == known and not event["running"]:
            break
    took = time.monotonic() - began
    os.kill(slow, signal.SIGCONT)
    assert len(before) > len(known) / 2, "one that answers late keeps the others back"
    assert took < 12, f"one that never answers held the run up for {took:.1f} s"
    page = browser.ask("GET", "/admin")[2]
    assert all(f'data-check="{check}"' in page for check in known)
    status, headers, _ = browser.ask("POST", "/admin/look", {"token": token_of(page)})
    assert status == 429 and int(headers["Retry-After"]) > 0
    assert not list((own_box.folder / "var/lib/mailstead/checks").glob("run*")), "the run leaves only its results"
    # Whoever is not logged in is told nothing.
    assert " 401 " in Stream(Browser(own_box)).head

    with urllib.request.urlopen("http://{}:{}/metrics".format(*own_box.at("metrics")), timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), answer.headers
        families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    states = {sample.labels["check"]: sample.value for sample in families["mailstead_check_state"].samples}
    assert set(states) == known and states["service-web"] == 0
    assert all(family.type == "gauge" and family.documentation for family in families.values())
    assert abs(families["mailstead_checks_run_timestamp_seconds"].samples[0].value - time.time()) < 60
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen("http://{}:{}/admin".format(*own_box.at("metrics")), timeout=10)


def test_guessing_is_slowed_down(own_box):
    browser, seen = Browser(own_box), []
    for _ in range(30):
        status, headers, _ = browser.log_in("a guess")
        seen.append(status)
        if status == 429:
            assert int(headers["Retry-After"]) > 0
            break
    assert seen[-1] == 429 and seen[0] == 401, seen


# --- The checks


def test_the_checks_tell_what_they_saw_and_what_to_do(box):
    done = box.run("status", "--json", check=False)
    assert done.returncode in (0, 1, 2)
    checks = json.loads(done.stdout)
    assert len(checks) >= 25
    for check in checks:
        assert check["id"] and check["title"] and check["state"] and check["seen"], check
        if check["state"] in ("failed", "warning"):
            assert check["wanted"] and check["why"] and check["remedy"], check
    worst = {"failed": 2, "warning": 1}
    assert done.returncode == max([worst.get(check["state"], 0) for check in checks])
    states = {check["id"]: check["state"] for check in checks}
    for role in ("directory", "mailbox", "mta", "filter", "dns", "web"):
        assert states[f"service-{role}"] == "ok", states
    assert states["queue"] == "ok"


def test_what_goes_to_and_fro_and_what_is_old_says_so(box):
    folder, now = box.folder / "var/lib/mailstead/checks", int(time.time())
    folder.mkdir(exist_ok=True)
    states = ["ok", "failed"] * 4
    turns = [{"time": now - 9000 + 60 * at, "id": "service-web", "from": states[at], "to": states[at + 1], "seen": ""} for at in range(6)]
    kept = next(check for check in box.json("status", "--list") if check["id"] == "blocklist-ipv4")
    old = {**json.loads(box.run("status", "--json", "--group", kept["id"], check=False).stdout)[0], "state": "ok", "checked": now - 2400}
    try:
        (folder / "changes.jsonl").write_text("".join(json.dumps(turn) + "\n" for turn in turns))
        (folder / "results.json").write_text(json.dumps([old]))
        shown = box.run("status", check=False).stdout
        found = {check["id"]: check for check in json.loads(box.run("status", "--json", check=False).stdout)}
    finally:
        (folder / "changes.jsonl").unlink()
        (folder / "results.json").unlink()
    line = next(line for line in shown.splitlines() if f"ok {found['service-web']['title']} –" in line)
    assert "changed 6 times in 2 hours" in line, shown
    assert found["service-web"]["flaps"] == {"times": 6, "since": now - 9000, "broken": True}
    aged = [check for check in found.values() if check["checked"] < now - 600]
    assert [check["id"] for check in aged] == [kept["id"]] and "(looked at 40 minutes ago)" in shown, shown


def test_a_role_that_is_down_is_found(own_box):
    pid = own_box.children()["mailbox"]
    os.kill(pid, signal.SIGSTOP)  # it is there and does not answer
    try:
        done = own_box.run("status", "--json", check=False, timeout=120)
        states = {check["id"]: check["state"] for check in json.loads(done.stdout)}
    finally:
        os.kill(pid, signal.SIGCONT)
    assert states["service-mailbox"] == "failed" and states["service-filter"] == "ok" and done.returncode == 2
