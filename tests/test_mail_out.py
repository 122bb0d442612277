"""Mail that users send: 465 and 587, the queue, other servers."""

import smtplib
import subprocess
from email import message_from_bytes, policy

import pytest
from outside.box import eventually
from outside.letters import letter, token

FROM_ANN = {"From_": "Ann <ann@demo.example>", "To": "Friend <friend@peer.test>"}


def test_mail_reaches_the_other_server_over_tls(box, friend):
    subject = token()
    box.submit(letter(subject, **FROM_ANN), "friend@peer.test")
    got = friend.wait_for(subject)
    assert got.tls and got.sender == "ann@demo.example" and got.recipients == ["friend@peer.test"]
    eventually(lambda: not [entry for entry in box.json("queue") if "friend@" in entry["recipient"]], words="an empty queue")


def test_swaks_submits_on_587_with_starttls(box, friend):
    host, port = box.at("submission")
    subject = token()
    done = subprocess.run(
        ["swaks", "--server", host, "--port", str(port), "--tls", "--tls-ca-path", box.endpoints["ca_file"]]
        + ["--auth", "PLAIN", "--auth-user", box.email, "--auth-password", box.password]
        + ["--from", box.email, "--to", "friend@peer.test", "--header", f"Subject: {subject}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert friend.wait_for(subject)


def test_blind_copies_and_missing_fields_are_seen_to(box, friend):
    subject = token()
    message = letter(subject, Bcc="secret@peer.test", Message_ID=None, Date=None, **FROM_ANN)
    box.submit(message, ["friend@peer.test", "secret@peer.test"])
    got = friend.wait_for(subject)
    assert b"secret@" not in got.raw
    assert got.message["Message-ID"].endswith("@demo.example>") and got.message["Date"]


def test_where_the_sender_is_connected_from_is_not_told(box, friend):
    subject = token()
    box.submit(letter(subject, **FROM_ANN), "friend@peer.test")
    assert b"127.0.0.1" not in friend.wait_for(subject).raw


def test_a_wrong_password_is_refused(box):
    with smtplib.SMTP_SSL(*box.at("submissions"), context=box.trust(), timeout=30) as link:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            link.login(box.email, "not the password")
        assert refused.value.smtp_code == 535


def test_no_password_is_taken_without_tls(box):
    with smtplib.SMTP(*box.at("submission"), timeout=30) as link:
        link.ehlo()
        assert not link.has_extn("auth")
        assert link.docmd("AUTH", "PLAIN AGFubgB4")[0] == 538
        assert link.mail("ann@demo.example")[0] == 530


@pytest.mark.parametrize("author", ["bob@demo.example", "president@elsewhere.test"])
def test_nobody_sends_in_anothers_name(box, bob, author):
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        box.submit(letter(token(), From_=author), "friend@peer.test")
    assert refused.value.smtp_code == 550
    with pytest.raises(smtplib.SMTPSenderRefused) as refused:
        box.submit(letter(token(), From_="ann@demo.example"), "friend@peer.test", sender=author)
    assert refused.value.smtp_code == 553


def test_an_alias_may_be_the_sender_of_those_it_leads_to(box, friend):
    box.run("alias", "add", "hello@demo.example", "ann@demo.example")
    subject = token()
    box.submit(letter(subject, From_="hello@demo.example"), "friend@peer.test", sender="hello@demo.example")
    assert friend.wait_for(subject).sender == "hello@demo.example"


def test_mail_between_accounts_of_the_box_stays_on_it(box, bob):
    subject = token()
    box.submit(letter(subject, **{**FROM_ANN, "To": bob[0]}), bob[0])
    message = box.wait_for(subject, login=bob[0], password=bob[1])
    assert b"DKIM-Signature:" in message


def test_what_the_other_server_puts_off_waits_and_is_tried_again(box, friend):
    subject, to = token(), f"{token('later')}@peer.test"
    box.submit(letter(subject, **FROM_ANN), to)

    def waiting():
        return [entry for entry in box.json("queue") if entry["recipient"] == to and entry["tries"]]

    (entry,) = eventually(waiting, words="an entry that was put off")
    assert "450" in entry["last"] and "come again later" in entry["last"]
    assert entry["next_try"] > entry["queued"]
    assert friend.wait_for(subject).recipients == [to] and friend.asked[to] == 2
    eventually(lambda: not waiting(), words="an empty queue")


def test_what_the_other_server_refuses_comes_back_as_a_report(box, friend):
    subject, to = token(), f"{token('refused')}@peer.test"
    box.submit(letter(subject, **FROM_ANN), to)
    report = returned(box, to)
    status = report.get_payload()[1].as_string()
    assert "Action: failed" in status and f"rfc822; {to}" in status and "5.1.1" in status
    assert "nobody of that name" in report.get_payload()[0].get_content()
    assert subject in report.get_payload()[2].as_string()
    assert friend.asked[to] == 1 and not [entry for entry in box.json("queue") if entry["recipient"] == to]


@pytest.mark.parametrize("to", ["someone@no-such-domain.test", "someone@silent.test"])
def test_a_domain_that_takes_no_mail_is_reported_at_once(box, to):
    box.submit(letter(token(), **FROM_ANN), to)
    assert "Action: failed" in returned(box, to).get_payload()[1].as_string()


def test_a_refused_recipient_does_not_keep_the_others_from_theirs(box, friend):
    subject, wrong = token(), f"{token('refused')}@peer.test"
    box.submit(letter(subject, **FROM_ANN), [wrong, "friend@peer.test"])
    assert friend.wait_for(subject).recipients == ["friend@peer.test"]
    assert returned(box, wrong)


def returned(box, recipient):
    """The report about a recipient, from the sender's mailbox, parsed and checked for its form (RFC 3464, 3462)."""
    report = message_from_bytes(box.wait_for(f"Final-Recipient: rfc822; {recipient}"), policy=policy.default)
    assert report.get_content_type() == "multipart/report"
    assert report["Content-Type"].params["report-type"] == "delivery-status"
    assert report["Return-Path"] in (None, "<>") and report["To"].addresses[0].addr_spec == "ann@demo.example"
    assert [part.get_content_type() for part in report.get_payload()][1] == "message/delivery-status"
    return report
