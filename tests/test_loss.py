"""Whatever is killed, what was acknowledged is there."""

import smtplib
import threading
import time
from pathlib import Path

import pytest
from outside.box import eventually
from outside.letters import letter, token

KILLS = 5


@pytest.mark.parametrize("role", ["mta", "mailbox", "filter", "directory"])
def test_every_acknowledged_message_survives_the_killing_of(own_box, role):
    acknowledged, stop = [], threading.Event()

    def stream(number):
        while not stop.is_set():
            subject = token(f"stream{number}")
            try:
                own_box.deliver(letter(subject))
                acknowledged.append(subject)
            except (smtplib.SMTPException, OSError):
                time.sleep(0.05)  # put off, or the connection broke: not acknowledged

    senders = [threading.Thread(target=stream, args=[number]) for number in range(4)]
    for sender in senders:
        sender.start()
    try:
        for _ in range(KILLS):
            before = len(acknowledged)
            eventually(lambda: len(acknowledged) >= before + 5, 30, "a stream of mail that goes on")
            own_box.kill(role)
            time.sleep(0.2)
        before = len(acknowledged)
        eventually(lambda: len(acknowledged) >= before + 5, 30, "mail after the last kill")
    finally:
        stop.set()
        for sender in senders:
            sender.join(60)
    folders = [own_box.messages("INBOX"), own_box.messages("Junk")]
    there = b"\n".join(message for folder in folders for message in folder.values())
    lost = [subject for subject in acknowledged if f"Subject: {subject}\r\n".encode() not in there]
    assert len(acknowledged) >= 5 * (KILLS + 1) and not lost, f"{len(lost)} of {len(acknowledged)} lost: {lost[:5]}"


def test_mail_in_the_queue_survives_the_killing_of_the_mta(own_box, friend):
    subjects = [token("queued") for _ in range(20)]
    with own_box.submission() as link:
        for subject in subjects:
            message = letter(subject, From_="ann@demo.example").replace("\n", "\r\n")
            link.sendmail("ann@demo.example", [f"{token('later')}@peer.test"], message.encode())
    own_box.kill("mta")
    for subject in subjects:
        friend.wait_for(subject, timeout=40)


def test_everything_is_there_when_the_box_starts_again(make_box):
    first = make_box().start()
    first.deliver(letter("kept"))
    first.add_user("fred@demo.example")
    link = first.imap()
    link.select("INBOX")
    link.uid("STORE", "1:*", "+FLAGS", r"(\Flagged)")
    link.select("INBOX", readonly=True)
    before = link.uid("FETCH", "1:*", "(UID FLAGS)"), link.response("UIDVALIDITY")
    link.logout()
    zone = {record["name"] + record["kind"]: record["value"] for record in first.json("dns", "zone")}
    ds = first.json("dns", "ds", "demo.example")
    first.stop()
    again = make_box(first.folder).start()
    link = again.imap()
    link.select("INBOX", readonly=True)
    assert (link.uid("FETCH", "1:*", "(UID FLAGS)"), link.response("UIDVALIDITY")) == before
    link.logout()
    assert "fred@demo.example" in [user["address"] for user in again.json("user", "list")]
    assert {record["name"] + record["kind"]: record["value"] for record in again.json("dns", "zone")} == zone
    assert again.json("dns", "ds", "demo.example") == ds
    again.stop()


def test_a_demo_that_ends_leaves_no_process_behind(make_box):
    box = make_box().start()
    pids = set(box.children().values())
    assert len(pids) >= 6
    box.stop()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
