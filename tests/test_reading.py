"""Reading mail: IMAP as Python's imaplib speaks it, and mbsync."""

import imaplib
import re
import subprocess
import time

import pytest
from outside.letters import letter, token

PASSWORD = "a long enough pass phrase"


@pytest.fixture
def reader(box):
    """A logged-in connection of an account that only this test uses."""
    address = f"{token('reader')}@demo.example"
    box.add_user(address, PASSWORD)
    link = box.imap(address, PASSWORD)
    link.address = address
    yield link
    try:
        link.logout()
    except (imaplib.IMAP4.error, OSError):
        pass


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def fill(reader, *subjects, folder="INBOX"):
    """Appends a message per subject; returns their UIDs."""
    uids = []
    for subject in subjects:
        (said,) = ok(reader.append(folder, "", imaplib.Time2Internaldate(time.time()), letter(subject).replace("\n", "\r\n").encode()))
        uids.append(int(re.search(rb"APPENDUID \d+ (\d+)", said).group(1)))
    return uids


def searched(reader, *what):
    return [int(uid) for uid in ok(reader.uid("SEARCH", *what))[0].split()]


def flags(reader, uid):
    (line,) = ok(reader.uid("FETCH", str(uid), "(FLAGS)"))
    return set(imaplib.ParseFlags(line))


def test_the_folders_that_programs_look_for_are_there(reader):
    listed = b"\n".join(ok(reader.list()))
    for folder, use in (("Junk", "Junk"), ("Sent", "Sent"), ("Drafts", "Drafts"), ("Trash", "Trash")):
        assert re.search(rf"\(.*\\{use}.*\) \"?.\"? \"?{folder}".encode(), listed), listed
    assert {b"IDLE", b"UIDPLUS", b"MOVE", b"SPECIAL-USE"} <= set(ok(reader.capability())[0].split())


def test_folders_are_made_renamed_and_removed(reader):
    ok(reader.create("Projects"))
    ok(reader.create('"Projects/Gr&APwA3w-e"'))
    ok(reader.subscribe("Projects"))
    ok(reader.rename("Projects", "Archive2026"))
    names = b"\n".join(ok(reader.list()))
    assert b"Archive2026" in names and b"Projects" not in names
    ok(reader.delete('"Archive2026/Gr&APwA3w-e"'))
    ok(reader.delete("Archive2026"))
    assert b"Archive2026" not in b"\n".join(ok(reader.list()))
    assert reader.delete("INBOX")[0] == "NO"


def test_what_was_appended_is_fetched_byte_for_byte(reader):
    message = letter("exact", "Grüße\n.\n  spaces at the end  \n").replace("\n", "\r\n").encode()
    ok(reader.append("INBOX", r"(\Seen)", '"01-Nov-2026 12:00:00 +0100"', message))
    ok(reader.select("INBOX"))
    data = ok(reader.fetch("1", "(BODY.PEEK[] INTERNALDATE RFC822.SIZE FLAGS)"))
    assert data[0][1] == message
    line = data[0][0] + data[1]
    assert f"RFC822.SIZE {len(message)}".encode() in line and rb"\Seen" in line
    assert b"2026 1" in line and imaplib.Internaldate2tuple(line) is not None
    header = ok(reader.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))[0][1]
    assert header == b"Subject: exact\r\n\r\n"


def test_search_finds_by_header_text_flag_and_date(reader):
    first, second = fill(reader, "about apples", "about pears")
    ok(reader.select("INBOX"))
    ok(reader.uid("STORE", str(second), "+FLAGS", r"(\Flagged)"))
    assert searched(reader, "SUBJECT", "apples") == [first]
    assert searched(reader, "TEXT", "Thursday") == [first, second]
    assert searched(reader, "FLAGGED") == [second] and searched(reader, "UNFLAGGED") == [first]
    assert searched(reader, "OR", "SUBJECT", "apples", "SUBJECT", "pears") == [first, second]
    assert searched(reader, "NOT", "FROM", "friend@peer.test") == []
    assert searched(reader, "SINCE", "01-Jan-2020", "UID", f"{second}:*") == [second]


def test_flags_stay_after_a_new_login(box, reader):
    (uid,) = fill(reader, "flags")
    ok(reader.select("INBOX"))
    ok(reader.uid("STORE", str(uid), "FLAGS", r"(\Seen \Answered $Important)"))
    ok(reader.uid("STORE", str(uid), "-FLAGS", r"(\Answered)"))
    again = box.imap(reader.address, PASSWORD)
    again.select("INBOX")
    assert {rb"\Seen", b"$Important"} <= flags(again, uid) and rb"\Answered" not in flags(again, uid)
    again.logout()


def test_copy_and_move_tell_the_new_uids(reader):
    first, second = fill(reader, "one", "two")
    ok(reader.select("INBOX"))
    ok(reader.uid("COPY", str(first), "Drafts"))
    assert re.search(rb"\d+ %d \d+" % first, reader.response("COPYUID")[1][0])
    ok(reader.uid("MOVE", f"{first},{second}", "Trash"))
    assert searched(reader, "ALL") == []
    assert ok(reader.select("Trash")) == [b"2"] and ok(reader.select("Drafts")) == [b"1"]


def test_expunge_takes_only_what_is_marked_and_uid_expunge_only_what_is_named(reader):
    first, second, third = fill(reader, "one", "two", "three")
    ok(reader.select("INBOX"))
    ok(reader.uid("STORE", f"{first},{second}", "+FLAGS", r"(\Deleted)"))
    ok(reader.uid("EXPUNGE", str(first)))
    assert searched(reader, "ALL") == [second, third]
    ok(reader.expunge())
    assert searched(reader, "ALL") == [third]
    (fourth,) = fill(reader, "four")
    assert fourth > third  # no UID comes twice


def test_two_connections_see_each_others_changes(box, reader):
    (uid,) = fill(reader, "shared")
    ok(reader.select("INBOX"))
    other = box.imap(reader.address, PASSWORD)
    other.select("INBOX")
    ok(other.uid("STORE", str(uid), "+FLAGS", r"(\Deleted)"))
    ok(other.expunge())
    ok(reader.noop())
    assert reader.response("EXPUNGE")[1] == [b"1"]
    other.logout()


def test_new_mail_is_told_to_who_waits_with_idle(box, reader):
    ok(reader.select("INBOX"))
    reader.send(b"x1 IDLE\r\n")
    assert reader.readline().startswith(b"+")
    box.deliver(letter(token()), to=reader.address)
    reader.sock.settimeout(10)
    line = reader.readline()
    while b"EXISTS" not in line:
        line = reader.readline()
    assert line.startswith(b"* 1 EXISTS")
    reader.send(b"DONE\r\n")
    while not line.startswith(b"x1 "):
        line = reader.readline()
    assert line.startswith(b"x1 OK")


def test_a_wrong_password_is_refused(box):
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        box.imap(password="not the password")


def mbsync(box, account, folder):
    """One run of mbsync over all folders, both ways; returns the messages that it has, by folder."""
    _, port = box.at("imaps")
    (folder / "mail").mkdir(exist_ok=True)
    config = folder / "mbsyncrc"
    config.write_text(
        f"IMAPAccount box\nHost localhost\nPort {port}\nUser {account}\nPass \"{PASSWORD}\"\nSSLType IMAPS\n"
        f"CertificateFile {box.endpoints['ca_file']}\n\nIMAPStore far\nAccount box\n\n"
        f"MaildirStore near\nPath {folder}/mail/\nInbox {folder}/mail/INBOX\nSubFolders Verbatim\n\n"
        f"Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n"
    )
    done = subprocess.run(["mbsync", "-c", config, "-a"], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(str(path.relative_to(folder / "mail")) for path in folder.glob("mail/**/cur/*")) + sorted(
        str(path.relative_to(folder / "mail")) for path in folder.glob("mail/**/new/*")
    )


def test_mbsync_brings_everything_down_once_and_its_changes_up(box, reader, tmp_path):
    fill(reader, "one", "two", "three")
    fill(reader, "draft", folder="Drafts")
    first = mbsync(box, reader.address, tmp_path)
    assert len(first) == 4
    assert mbsync(box, reader.address, tmp_path) == first
    # A message that is read here, and one that is deleted here.
    inbox = sorted((tmp_path / "mail/INBOX").glob("[nc][eu][wr]/*"))
    for path, mark in zip(inbox, "ST"):
        name = path.name.split(":")[0] + ":2," + mark
        path.rename(tmp_path / "mail/INBOX/cur" / name)
    (tmp_path / "mail/INBOX/new/1700000000.1.laptop").write_text(letter("written here"))
    after = mbsync(box, reader.address, tmp_path)
    ok(reader.select("INBOX"))
    assert len(searched(reader, "ALL")) == 3 and len(searched(reader, "SEEN")) == 1
    assert len(searched(reader, "SUBJECT", '"written here"')) == 1
    assert mbsync(box, reader.address, tmp_path) == after
