"""DKIM, judged by dkimpy with the keys that the box's own name server serves."""

import base64
import subprocess

import dkim
import pytest
from outside import names
from outside.letters import letter, token


@pytest.fixture
def sent(box, friend):
    subject = token()
    box.submit(letter(subject, From_="Ann <ann@demo.example>", To="friend@peer.test"), "friend@peer.test")
    return friend.wait_for(subject).raw


def served_txt(box):
    """A look-up for dkimpy that asks the box's name server and nobody else."""
    host, port = box.at("dns")

    def look_up(name, timeout=5):
        asked = name.decode() if isinstance(name, bytes) else name
        done = subprocess.run(
            ["dig", "+short", "+tcp", f"@{host}", "-p", str(port), asked, "TXT"], capture_output=True, text=True, check=True
        )
        return "".join(part for part in done.stdout.split('"')[1::2]).encode()

    return look_up


def test_mail_bears_a_valid_signature_of_each_kind(box, sent):
    signatures = sent.split(b"DKIM-Signature:")[1:]
    kinds = sorted(kind for one in signatures for kind in (b"rsa-sha256", b"ed25519-sha256") if b"a=" + kind in one)
    assert kinds == [b"ed25519-sha256", b"rsa-sha256"]
    for index in range(2):
        judge = dkim.DKIM(sent, minkey=2048)
        assert judge.verify(idx=index, dnsfunc=served_txt(box)), index
        assert judge.domain == b"demo.example"


def test_the_signatures_cover_what_a_forger_would_change(box, sent):
    for field in (b"From:", b"Subject:", b"To:", b"Date:"):
        changed = sent.replace(b"\n" + field, b"\n" + field + b" x", 1)
        assert not any(dkim.DKIM(changed).verify(idx=index, dnsfunc=served_txt(box)) for index in range(2)), field
    added = b"From: Boss <boss@bank.test>\r\n" + sent
    assert not any(dkim.DKIM(added).verify(idx=index, dnsfunc=served_txt(box)) for index in range(2))
    with pytest.raises(dkim.ValidationError, match="body hash"):
        dkim.DKIM(sent + b"and more\r\n").verify(dnsfunc=served_txt(box))


def test_a_signature_of_the_other_side_is_verified(box, world, tmp_path):
    key, public = tmp_path / "key.pem", tmp_path / "key.der"
    subprocess.run(["openssl", "genrsa", "-traditional", "-out", key, "2048"], check=True, capture_output=True)
    subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-outform", "DER", "-out", public], check=True, capture_output=True)
    world.add("s1._domainkey.peer.test", names.txt("v=DKIM1; k=rsa; p=" + base64.b64encode(public.read_bytes()).decode()))
    subject = token()
    message = letter(subject).replace("\n", "\r\n").encode()
    box.deliver(dkim.sign(message, b"s1", b"peer.test", key.read_bytes()) + message)
    assert b"dkim=pass" in box.wait_for(subject)
    spoilt = token()
    message = letter(spoilt).replace("\n", "\r\n").encode()
    signature = dkim.sign(message, b"s1", b"peer.test", key.read_bytes())
    box.deliver(signature + message.replace(b"Thursday", b"Friday"))
    assert b"dkim=fail" in box.wait_for(spoilt) or b"dkim=neutral" in box.wait_for(spoilt)
