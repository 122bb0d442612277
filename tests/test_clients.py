"""The programs that owners use, beyond what test_reading, test_pop3 and test_sieve try: a large mailbox carried both ways
by mbsync, offlineimap, neomutt and curl."""

import hashlib
import re
import shutil
import subprocess
from collections import Counter

import pytest
from outside.letters import letter, token

PASSWORD = "a long enough pass phrase"
MANY = 20_000


@pytest.fixture
def owner(box):
    """The address of an account that only this test uses."""
    address = f"{token('owner')}@demo.example"
    box.add_user(address, PASSWORD)
    return address


def run(*words, timeout=120, **how):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout, **how)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def append(box, owner, *letters, folder="INBOX"):
    with box.imap(owner, PASSWORD) as link:
        for text in letters:
            answer, said = link.append(folder, "", None, text.replace("\n", "\r\n").encode())
            assert answer == "OK", said


# --- mbsync


def mbsyncrc(box, owner, folder):
    """An account and its local copy in `folder`, everything both ways."""
    _, port = box.at("imaps")
    (folder / "mail").mkdir(parents=True)
    (folder / "mbsyncrc").write_text(
        # What is tried here is the server: mbsync need not sync each file that it writes.
        f'FSync no\n\nIMAPAccount box\nHost localhost\nPort {port}\nUser {owner}\nPass "{PASSWORD}"\nSSLType IMAPS\n'
        f"CertificateFile {box.endpoints['ca_file']}\n\nIMAPStore far\nAccount box\n\n"
        f"MaildirStore near\nPath {folder}/mail/\nInbox {folder}/mail/INBOX\nSubFolders Verbatim\n\n"
        f"Channel all\nFar :far:\nNear :near:\nPatterns INBOX Archive\nCreate Both\nExpunge Both\nSyncState *\n"
    )
    return folder / "mbsyncrc"


def mbsync(config):
    run("mbsync", "-c", config, "-a", timeout=110)


def files(folder):
    """Every message file below `folder`, as its path."""
    return sorted(str(path.relative_to(folder)) for part in ("cur", "new") for path in folder.glob(f"mail/*/{part}/*"))


def contents(folder):
    """What the messages are and how they are flagged, whatever their files are called. mbsync adds a line of its own to
    what it uploads (X-TUID), which is not part of the message."""
    found = Counter()
    for name in files(folder):
        bytes_ = re.sub(rb"X-TUID: .*\r?\n", b"", (folder / name).read_bytes())
        flags = name.rpartition(":2,")[2] if ":2," in name else ""
        found[name.split("/")[1], flags, hashlib.sha256(bytes_).hexdigest()] += 1
    return found


def test_twenty_thousand_messages_are_carried_both_ways_and_twice_over_without_a_difference(box, owner, tmp_path):
    laptop, phone = tmp_path / "laptop", tmp_path / "phone"
    config = mbsyncrc(box, owner, laptop)
    for part in ("cur", "new", "tmp"):
        (laptop / "mail/INBOX" / part).mkdir(parents=True)
    marks = ("S", "", "FS", "RS", "D")
    for number in range(MANY):
        text = f"From: eve@example.net\nTo: {owner}\nSubject: {number}\nMessage-ID: <{number}@many>\n\nNo. {number}\n"
        (laptop / f"mail/INBOX/cur/17{number:08}.{number}.laptop:2,{marks[number % 5]}").write_text(text)
    put_in = Counter(flags for (_, flags, _), count in contents(laptop).items() for _ in range(count))
    mbsync(config)
    first = files(laptop)
    assert len(first) == MANY
    # A second device takes everything down: the same messages, flagged the same.
    other = mbsyncrc(box, owner, phone)
    mbsync(other)
    assert contents(phone) == contents(laptop)
    assert Counter(flags for (_, flags, _), count in contents(phone).items() for _ in range(count)) == put_in
    # Once more, both: nothing moves.
    before = files(phone)
    mbsync(config)
    mbsync(other)
    assert files(laptop) == first and files(phone) == before
    # What one device changes, the other has; and then nothing moves again.
    for path in sorted((phone / "mail/INBOX/cur").iterdir())[:200]:
        base, _, flags = path.name.rpartition(":2,")
        path.rename(path.with_name(f"{base}:2,{''.join(sorted(set(flags) ^ {'F'}))}"))
    for path in sorted((phone / "mail/INBOX/cur").iterdir())[-100:]:
        path.unlink()
    mbsync(other)
    mbsync(config)
    assert contents(laptop) == contents(phone) and len(files(laptop)) == MANY - 100
    again = files(laptop), files(phone)
    mbsync(config)
    mbsync(other)
    assert (files(laptop), files(phone)) == again


# --- offlineimap


def test_offlineimap_brings_everything_down_and_changes_up(box, owner, tmp_path):
    append(box, owner, letter("one"), letter("two"))
    append(box, owner, letter("put away"), folder="Archive")
    _, port = box.at("imaps")
    (tmp_path / "offlineimaprc").write_text(
        f"[general]\naccounts = box\nmetadata = {tmp_path}/state\nui = quiet\n"
        f"[Account box]\nlocalrepository = near\nremoterepository = far\n"
        f"[Repository near]\ntype = Maildir\nlocalfolders = {tmp_path}/mail\n"
        f"[Repository far]\ntype = IMAP\nremotehost = localhost\nremoteport = {port}\nremoteuser = {owner}\n"
        f"remotepass = {PASSWORD}\nssl = yes\nsslcacertfile = {box.endpoints['ca_file']}\nauth_mechanisms = PLAIN\n"
    )

    def sync():
        run("offlineimap", "-o", "-c", tmp_path / "offlineimaprc", env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
        found = [path for part in ("cur", "new") for path in tmp_path.glob(f"mail/*/{part}/*")]
        return sorted(str(path.relative_to(tmp_path)) for path in found)

    first = sync()
    assert len(first) == 3
    assert sync() == first
    read = next((tmp_path / "mail/INBOX").glob("[cn][ue][rw]/*"))
    read.rename(tmp_path / "mail/INBOX/cur" / (read.name.split(":")[0] + ":2,S"))
    (tmp_path / "mail/INBOX/new/1700000000.1.laptop").write_text(letter("written here"))
    sync()
    with box.imap(owner, PASSWORD) as link:
        assert link.select("INBOX")[1] == [b"3"]
        assert len(link.search(None, "SEEN")[1][0].split()) == 1
        assert len(link.search(None, "SUBJECT", '"written here"')[1][0].split()) == 1
    after = sync()
    assert sync() == after and len(after) == 4


# --- neomutt


def test_neomutt_copies_and_removes(box, owner, tmp_path):
    append(box, owner, letter("first to read"), letter("second to keep"))
    _, port = box.at("imaps")
    user = owner.replace("@", "%40")
    (tmp_path / "muttrc").write_text(
        f'set imap_user="{owner}"\nset imap_pass="{PASSWORD}"\nset folder="imaps://{user}@localhost:{port}/"\n'
        f'set certificate_file="{box.endpoints["ca_file"]}"\nset ssl_starttls=no\n'
        "set sort=mailbox-order\nset wait_key=no\nset confirmappend=no\nset delete=yes\nset quit=yes\nset mark_old=no\n"
        "set imap_idle=yes\nset pager=builtin\nset help=no\nset trash=\"\"\nset record=\"\"\n"
    )
    keys = (
        "<first-entry><next-entry><copy-message><kill-line>=Archive<enter>"
        "<first-entry><delete-message><sync-mailbox><quit>"
    )
    inside = f"neomutt -n -F {tmp_path}/muttrc -f imaps://{user}@localhost:{port}/INBOX -e 'push {keys}'"
    # It wants a terminal; script(1) is one.
    run(
        *("timeout", "30", "script", "-qec", inside, tmp_path / "screen"),
        stdin=subprocess.DEVNULL,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "TERM": "xterm", "LANG": "C.UTF-8"},
    )
    with box.imap(owner, PASSWORD) as link:
        assert link.select("Archive")[1] == [b"1"]
        assert b"second to keep" in link.fetch("1", "(BODY[HEADER.FIELDS (SUBJECT)])")[1][0][1]
        assert link.select("INBOX")[1] == [b"1"]
        assert b"second to keep" in link.fetch("1", "(BODY[HEADER.FIELDS (SUBJECT)])")[1][0][1]


# --- curl


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_curl_speaks_imap_and_pop3(box, owner, tmp_path):
    common = ["curl", "-sS", "--fail", "--cacert", box.endpoints["ca_file"], "--user", f"{owner}:{PASSWORD}"]
    imap, pop = (f"{scheme}://localhost:{box.at(scheme)[1]}" for scheme in ("imaps", "pop3s"))
    written = tmp_path / "letter"
    written.write_text(letter("by curl", "the body\n").replace("\n", "\r\n"), newline="")
    run(*common, f"{imap}/INBOX", "-T", written)
    assert '"/" Archive' in run(*common, f"{imap}/")
    assert "EXISTS" not in run(*common, f"{imap}/INBOX?SUBJECT%20curl").replace("* SEARCH 1", "")
    fetched = tmp_path / "fetched"
    run(*common, f"{imap}/INBOX;MAILINDEX=1", "-o", fetched)
    assert fetched.read_bytes() == written.read_bytes()
    run(*common, f"{imap}/INBOX", "-X", "STORE 1 +FLAGS (\\Flagged)")
    assert "\\Flagged" in run(*common, f"{imap}/INBOX", "-X", "FETCH 1 FLAGS")
    assert run(*common, f"{pop}/").split()[0] == "1"
    run(*common, f"{pop}/1", "-o", fetched)
    assert fetched.read_bytes() == written.read_bytes()
    run(*common, f"{pop}/1", "-X", "DELE", "-l")
    assert run(*common, f"{pop}/").strip() == ""
