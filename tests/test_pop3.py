"""Fetching mail: POP3 as Python's poplib speaks it, and getmail."""

import poplib
import subprocess
from base64 import b64decode, b64encode
from hashlib import pbkdf2_hmac, sha256
from hmac import digest

import pytest
from outside.letters import letter, token

PASSWORD = "a long enough pass phrase"


@pytest.fixture
def reader(box):
    """The address of an account that only this test uses."""
    address = f"{token('fetcher')}@demo.example"
    box.add_user(address, PASSWORD)
    return address


def connect(box):
    return poplib.POP3_SSL(*box.at("pop3s"), context=box.trust(), timeout=30)


def fetch(box, address):
    link = connect(box)
    link.user(address)
    link.pass_(PASSWORD)
    return link


def fill(box, address, *bodies):
    for body in bodies:
        box.deliver(letter(token(), body, To=address), to=address)


def test_mail_is_fetched_line_for_line_and_goes_at_quit(box, reader):
    fill(box, reader, "first\n.dot\n..dots\n", "second\n")
    link = fetch(box, reader)
    assert link.stat()[0] == 2
    _, lines, octets = link.retr(1)
    assert lines[-3:] == [b"first", b".dot", b"..dots"]
    assert int(link.list(1).split()[2]) == octets == sum(len(line) + 2 for line in lines)
    assert link.top(2, 0)[1][-1] == b""
    ids = link.uidl()[1]
    link.dele(1)
    link.quit()
    link = fetch(box, reader)
    assert [line.split()[1] for line in link.uidl()[1]] == [ids[1].split()[1]]
    link.rset()
    link.quit()


def test_a_connection_that_breaks_deletes_nothing(box, reader):
    fill(box, reader, "keep me\n")
    link = fetch(box, reader)
    link.dele(1)
    link.close()
    assert fetch(box, reader).stat()[0] == 1


def test_the_capabilities_are_those_of_rfc_2449(box, reader):
    offered = connect(box).capa()
    assert {"TOP", "UIDL", "USER", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE"} <= set(offered)
    assert offered["EXPIRE"] == ["NEVER"] and "PLAIN" in offered["SASL"] and "STLS" not in offered


def test_wrong_passwords_are_told_as_such(box, reader):
    link = connect(box)
    link.user(reader)
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        link.pass_("wrong")


def test_getmail_fetches_everything_once(box, reader, tmp_path):
    fill(box, reader, "one\n", "two\n", "three\n")
    taken = tmp_path / "mail"
    taken.mkdir()
    # getmail does not deliver as root but for a command that is told to be all right.
    keep = f'type = MDA_external\npath = /bin/sh\narguments = ("-c", "cat >$(mktemp {taken}/XXXXXX)")\nallow_root_commands = true\n'
    host, port = box.at("pop3s")
    (tmp_path / "getmailrc").write_text(
        f"[retriever]\ntype = SimplePOP3SSLRetriever\nserver = {host}\nport = {port}\nusername = {reader}\n"
        f"password = {PASSWORD}\nca_certs = {box.endpoints['ca_file']}\n"
        f"[destination]\n{keep}"
        "[options]\nread_all = false\ndelete = false\n"
    )
    for expected in (3, 3):
        done = subprocess.run(["getmail", "--getmaildir", tmp_path], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(list(taken.iterdir())) == expected
    fill(box, reader, "four\n")
    subprocess.run(["getmail", "--getmaildir", tmp_path, "--delete"], check=True, capture_output=True, timeout=60)
    assert len(list(taken.iterdir())) == 4
    assert fetch(box, reader).stat()[0] == 0


def scram(link, address, password):
    """SCRAM-SHA-256 from the client's side (RFC 5802 §3), without channel binding."""
    bare = f"n={address},r=rOprNGfwEbeRWgbNEkqO"
    answer = link._shortcmd(f"AUTH SCRAM-SHA-256 {b64encode(('n,,' + bare).encode()).decode()}")
    first = b64decode(answer.split()[1]).decode()
    nonce, salt, count = (part[2:] for part in first.split(","))
    salted = pbkdf2_hmac("sha256", password.encode(), b64decode(salt), int(count))
    client_key = digest(salted, b"Client Key", "sha256")
    last = f"c=biws,r={nonce}"
    message = f"{bare},{first},{last}".encode()
    signature = digest(sha256(client_key).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature))
    answer = link._shortcmd(b64encode(f"{last},p={b64encode(proof).decode()}".encode()).decode())
    server = digest(digest(salted, b"Server Key", "sha256"), message, "sha256")
    assert b64decode(answer.split()[1]) == b"v=" + b64encode(server), "this is not the server it says it is"
    return link._shortcmd("")


def test_an_app_password_logs_in_by_scram_and_the_chosen_one_does_not(own_box):
    box = own_box
    app = box.run("user", "app-password", "add", box.email, "phone").stdout
    password = next(word for word in app.split() if word.count("-") >= 3)
    offered = connect(box).capa()["SASL"]
    assert {"SCRAM-SHA-256", "PLAIN"} <= set(offered), offered
    assert scram(connect(box), box.email, password).startswith(b"+OK")
    link = connect(box)
    link.user(box.email)
    assert link.pass_(password).startswith(b"+OK")
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        scram(connect(box), box.email, box.password)
