"""Spam goes to Junk, forgeries are refused."""

import json
import smtplib

import pytest
from outside.letters import letter, token

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\n"
PILLS = """\
Dear Friend,

CONGRATULATIONS!!! You have been selected. Make $5000 a week working from home, guaranteed! No risk, no investment.
Viagra, Cialis and other pills at the lowest prices online, no prescription needed. 100% FREE trial, order now!
Lose weight while you sleep. Consolidate your debt, lower your mortgage rate, get cash today. Click here:
http://10.4.5.6/unsubscribe.cgi and remember that this is not spam, you opted in to our mailing list.
To be removed from our list reply with REMOVE in the subject. Act now, this is a limited time offer!!!
"""


def test_mail_with_the_test_string_is_in_junk_and_says_why(box):
    subject = token("gtube")
    box.deliver(letter(subject, GTUBE))
    message = box.wait_for(subject, folder="Junk")
    assert b"X-Mailstead-Verdict: junk" in message and b"gtube" in message
    assert not [one for one in box.messages().values() if subject.encode() in one]


def test_mail_that_reads_like_spam_is_in_junk(box):
    subject = token("MAKE MONEY FAST!!! FREE PILLS")
    box.deliver(letter(subject, PILLS, From_="Hot Deals <offers@unknown.test>"), sender="offers@unknown.test")
    assert b"its words are those of spam" in box.wait_for(subject, folder="Junk")


def test_an_ordinary_letter_is_not_taken_for_spam(box):
    subject = token("Minutes of the meeting")
    body = (
        "Hi Ann,\n\nthanks for yesterday. I attach the minutes; could you look at the second paragraph before I send\n"
        "them to the others? The build works again since Tom fixed the Makefile.\n\nSee you on Monday,\nFriend\n"
    )
    box.deliver(letter(subject, body))
    assert box.wait_for(subject)


@pytest.mark.parametrize(
    "envelope, author",
    [
        ("ann@demo.example", "Ann <ann@demo.example>"),
        ("friend@peer.test", "Ann <ann@demo.example>"),
        ("friend@peer.test", "The Bank <service@bank.test>"),
    ],
    ids=["own envelope", "own From", "domain that asks for refusal"],
)
def test_a_forged_sender_is_refused(box, envelope, author):
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        box.deliver(letter(token("forged"), From_=author), sender=envelope)
    assert refused.value.smtp_code == 550 and b"5.7.1" in refused.value.smtp_error


def test_mail_moved_out_of_junk_stays_out(box):
    subject = token("gtube")
    box.deliver(letter(subject, GTUBE))
    box.wait_for(subject, folder="Junk")
    link = box.imap()
    link.select("Junk")
    _, (uids,) = link.uid("SEARCH", "SUBJECT", subject)
    assert link.uid("MOVE", uids.decode(), "INBOX")[0] == "OK"
    link.logout()
    assert box.wait_for(subject)


def test_the_owner_can_ask_what_the_filter_thinks_of_a_message_and_have_it_forget(box):
    text = "From: Amy <amy@peer.test>\r\nSubject: Thursday\r\nDate: Mon, 5 Jan 2026 10:00:00 +0000\r\nMessage-ID: <1@peer.test>\r\n\r\nSee you on Thursday.\r\n"
    weighed = json.loads(box.run("filter", "weigh", "-", "--json", stdin=text).stdout)
    assert not weighed["junk"] and weighed["score"] < 5, weighed
    said = box.run("filter", "weigh", "-", stdin=text + GTUBE).stdout
    assert said.startswith("Junk, at ") and "holds the test string that marks spam" in said, said
    assert "is empty" in box.run("filter", "weigh", "-", stdin="", check=False).stderr
    learned = box.json("filter", "show")
    assert set(learned) == {"junk", "wanted"}
    assert box.json("filter", "forget") == learned and box.json("filter", "show") == {"junk": 0, "wanted": 0}
