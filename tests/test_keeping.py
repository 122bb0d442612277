"""What is kept for the owner: deleted mail and accounts, quotas, and the state of the mail on the disk."""

import imaplib
import json
import time

import pytest
from outside.box import eventually
from outside.letters import letter, token

PASSWORD = "a long enough pass phrase"


@pytest.fixture
def someone(box):
    address = f"{token('keep')}@demo.example"
    box.add_user(address, PASSWORD)
    return address


def append(box, address, subject, size=0):
    link = box.imap(address, PASSWORD)
    text = letter(subject, "x" * 70 + "\n" + ("y" * 76 + "\n") * (size // 77)).replace("\n", "\r\n").encode()
    answer = link.append("INBOX", "", imaplib.Time2Internaldate(time.time()), text)
    link.logout()
    return answer


def subjects(box, address):
    link = box.imap(address, PASSWORD)
    link.select("INBOX")
    found = link.search(None, "ALL")[1][0].split()
    out = [link.fetch(number, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1].decode().strip() for number in found]
    link.logout()
    return out


def test_deleted_mail_comes_back(box, someone):
    append(box, someone, "precious")
    link = box.imap(someone, PASSWORD)
    link.select("INBOX")
    link.store("1", "+FLAGS", r"(\Deleted \Seen)")
    link.expunge()
    link.logout()
    assert subjects(box, someone) == []
    listed = box.json("undelete", someone, "--list")
    assert [(one["folder"], one["subject"].strip()) for one in listed] == [("INBOX", "precious")]
    assert any(usage["account"] == someone and usage["removed_messages"] == 1 for usage in box.json("undelete")["mail"])
    assert box.json("undelete", someone, "--folder", "Trash")["folders"] == []
    assert box.json("undelete", someone, "--since", "1h")["folders"] == [{"folder": "INBOX", "messages": 1}]
    assert subjects(box, someone) == ["Subject: precious"]


def test_a_removed_account_comes_back_with_password_and_mail(box, someone):
    append(box, someone, "still mine")
    box.run("user", "remove", someone)
    with pytest.raises((imaplib.IMAP4.error, OSError)):
        box.imap(someone, PASSWORD)
    assert someone in [account["address"] for account in box.json("undelete")["accounts"]]
    assert box.json("undelete", someone)["restored_account"] is True
    assert subjects(box, someone) == ["Subject: still mine"]
    refused = box.run("undelete", "nobody@demo.example", check=False)
    assert refused.returncode == 1 and "removed in the last 30 days" in refused.stderr


def send(box, recipient, size, announce):
    with box.smtp() as link:
        link.ehlo()
        message = letter("large", ("z" * 76 + "\n") * (size // 77)).replace("\n", "\r\n").encode()
        link.docmd("MAIL", f"FROM:<friend@peer.test>{f' SIZE={len(message)}' if announce else ''}")
        code, words = link.docmd("RCPT", f"TO:<{recipient}>")
        if code == 250:
            code, words = link.data(message)
        return code, words.decode()


def test_mail_for_a_full_mailbox_is_refused_in_the_session(box, someone):
    box.run("quota", "set", someone, "1M")
    assert append(box, someone, "most of it", 950_000)[0] == "OK"
    # The rules are asked for once a minute.
    code, words = eventually(lambda: (answer := send(box, someone, 300_000, True))[0] != 250 and answer, 70, "the quota")
    assert code == 552 and words.startswith("5.2.2") and someone in words
    code, words = send(box, someone, 300_000, False)
    assert code == 552 and words.startswith("5.2.2")
    kind, (answer,) = append(box, someone, "more", 300_000)
    assert kind == "NO" and b"OVERQUOTA" in answer
    append(box, someone, "to the brim", 80_000)
    code, words = send(box, someone, 100, False)
    assert code == 452 and words.startswith("4.2.2")
    link = box.imap(someone, PASSWORD)
    kind, ((root,), (usage,)) = link.getquotaroot("INBOX")
    assert kind == "OK" and b"STORAGE" in usage and b"1024" in usage
    link.logout()
    box.run("quota", "remove", someone)


def test_the_owner_is_warned_once_when_the_mailbox_is_nearly_full(box, someone):
    box.run("quota", "set", someone, "1M")
    assert append(box, someone, "most of it", 960_000)[0] == "OK"
    for _ in range(2):
        assert send(box, someone, 100, False)[0] == 250
    found = eventually(lambda: [one for one in subjects(box, someone) if "full" in one], 70, "the warning")
    assert len(found) == 1 and "9" in found[0]


def test_fsck_names_what_is_wrong_and_mends_it(box, someone):
    append(box, someone, "first")
    append(box, someone, "second")
    assert box.json("fsck", someone) == [{"account": someone, "findings": []}]
    local, domain = someone.split("@")
    (maildir,) = box.folder.glob(f"**/mail/{domain}/{local}/Maildir")
    (first,) = [file for file in (maildir / "cur").iterdir() if "Subject: first" in file.read_text()]
    first.unlink()
    (maildir / "cur/1.by.hand:2,S").write_text("Subject: by hand\n\nx\n")
    (checked,) = json.loads(box.run("fsck", "--check", someone, "--json", check=False).stdout)
    assert len(checked["findings"]) == 2 and not any(finding["mended"] for finding in checked["findings"])
    assert "(mended)" in box.run("fsck", someone).stdout
    assert box.json("fsck", someone) == [{"account": someone, "findings": []}]
    assert subjects(box, someone) == ["Subject: second", "Subject: by hand"]
    unknown = box.run("fsck", "nobody@demo.example", check=False)
    assert unknown.returncode == 1 and "no mail here" in unknown.stderr
    box.run("fsck")
