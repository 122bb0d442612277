"""Backups: an archive of standard parts that becomes the same box again."""

import json
import subprocess

import pytest
from outside.letters import letter, token


def state(box):
    """Folders, UID validities, UIDs, flags and bytes of the owner's mail."""
    link, seen = box.imap(), {}
    names = [line.split(b'"')[-2].decode() if line.endswith(b'"') else line.split()[-1].decode() for line in link.list()[1]]
    for name in sorted(names):
        link.select(f'"{name}"', readonly=True)
        messages = {}
        for part in link.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])")[1]:
            if isinstance(part, tuple):
                flags = sorted(part[0].split(b"FLAGS (")[1].split(b")")[0].replace(rb"\Recent", b"").split())
                messages[part[0].split(b"UID ")[1].split()[0]] = (flags, part[1])
        seen[name] = (link.response("UIDVALIDITY")[1], messages)
    link.logout()
    return seen


@pytest.fixture(scope="module")
def saved(make_box):
    """A box with mail in several folders, one archive of it, and its state at that time."""
    box = make_box().start()
    for number in range(3):
        box.deliver(letter(token(f"number{number}")))
    box.add_user("greta@demo.example")
    link = box.imap()
    link.create('"Projects.2026"')
    link.create("Empty")
    link.select("INBOX")
    link.uid("STORE", "1", "+FLAGS", r"(\Seen \Flagged $Label1)")
    assert link.uid("MOVE", "2", '"Projects.2026"')[0] == "OK"
    link.logout()
    (archive,) = box.run("backup", "now").stdout.split()
    key = box.folder / "key.txt"
    key.write_text(box.run("backup", "key").stdout)
    yield box, archive, key, state(box)
    box.stop()


def accounts(box):
    """The accounts and how much mail each has; what an index takes is not the same twice."""
    return [
        {**{key: user[key] for key in ("address", "admin", "created")}, **{key: user["mail"][key] for key in ("messages", "bytes")}}
        for user in box.json("user", "list")
    ]


def test_an_archive_opens_with_age_zstd_and_tar(saved, tmp_path):
    box, archive, key, _ = saved
    line = f'set -euo pipefail; age --decrypt --identity "{key}" "{archive}" | zstd -dc | tar -x -C "{tmp_path}"'
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"Subject: number0" in path.read_bytes() for path in files if "Maildir" in path.parts)
    databases = [path for path in files if path.suffix == ".db"]
    assert databases
    for database in databases:
        check = subprocess.run(["sqlite3", database, "PRAGMA integrity_check"], capture_output=True, text=True)
        assert check.stdout.strip() == "ok", database


def test_an_archive_tells_nothing_without_its_key(saved, tmp_path):
    box, archive, _, _ = saved
    subprocess.run(["age-keygen", "-o", tmp_path / "other.txt"], check=True, capture_output=True)
    done = box.__class__(tmp_path / "thief", box.program).run("restore", archive, "--key", tmp_path / "other.txt", check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and not (tmp_path / "thief/var/lib/mailstead/mail").exists()


def test_the_archives_are_listed(saved):
    box, archive, _, _ = saved
    assert archive in [entry["file"] for entry in box.json("backup", "list")]


def test_another_folder_becomes_the_same_box(saved, make_box):
    box, archive, key, before = saved
    zone = box.json("dns", "zone")
    users = accounts(box)
    ds = box.json("dns", "ds", "demo.example")
    other = make_box()
    other.run("restore", archive, "--key", key)
    other.start()
    after = state(other)
    assert {name: messages for name, (_, messages) in after.items()} == {name: messages for name, (_, messages) in before.items()}
    assert {name: validity for name, (validity, _) in after.items()} == {name: validity for name, (validity, _) in before.items()}
    assert accounts(other) == users and other.json("dns", "ds", "demo.example") == ds
    assert json.dumps(other.json("dns", "zone"), sort_keys=True) == json.dumps(zone, sort_keys=True)
    # What came after the backup had UIDs that programs remember; the box never gives them again.
    highest = max(int(uid) for uid in before["INBOX"][1])
    subject = token()
    other.deliver(letter(subject))
    new = [uid for uid, message in other.messages().items() if subject.encode() in message]
    assert new[0] > highest + 1
    other.stop()


def test_a_box_is_not_overwritten_by_a_restore(saved, make_box):
    _, archive, key, _ = saved
    there = make_box().start()
    there.deliver(letter("precious"))
    there.stop()
    done = there.run("restore", archive, "--key", key, check=False)
    assert done.returncode == 1 and done.stderr.startswith("mailstead: ")
    there.start()
    assert there.wait_for("precious")
    there.stop()


@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_a_damaged_archive_is_refused_whole(saved, make_box, tmp_path, harm):
    _, archive, key, _ = saved
    with open(archive, "rb") as file:
        data = bytearray(file.read())
    if harm == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 1
    damaged = tmp_path / "damaged.tar.zst.age"
    damaged.write_bytes(data)
    other = make_box()
    done = other.run("restore", damaged, "--key", key, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert not list(other.folder.rglob("*.db"))
