"""Mail from strangers, through port 25."""

import smtplib
import socket

import pytest
from outside.box import eventually
from outside.letters import letter, token


def test_a_strangers_mail_is_in_the_inbox_when_it_is_acknowledged(box):
    subject = token()
    box.deliver(letter(subject))
    (message,) = [one for one in box.messages().values() if subject.encode() in one]
    assert b"Received: from mx.peer.test" in message
    assert b"spf=pass" in message and b"dmarc=pass" in message
    assert message.index(b"Authentication-Results: box.demo.example") < message.index(b"Subject:")


def test_the_certificate_of_port_25_is_the_boxs_own(box):
    with box.smtp() as link:
        assert link.ehlo()[0] == 250 and link.has_extn("starttls")
        link.starttls(context=box.trust())
        names = [value for kind, value in link.sock.getpeercert()["subjectAltName"] if kind == "DNS"]
    assert box.hostname in names


def test_what_a_stranger_writes_about_the_verdict_is_not_believed(box):
    subject = token()
    forged = letter(subject, X_Mailstead_Verdict="junk; score=9.9", Authentication_Results="box.demo.example; dkim=pass")
    box.deliver(forged)
    message = box.wait_for(subject)
    assert b"score=9.9" not in message
    assert message.count(b"Authentication-Results: box.demo.example") == 1


@pytest.mark.parametrize("name", ["ann+shop", "ANN", "postmaster", "abuse", "hostmaster", "admin"])
def test_tags_capitals_and_required_names_reach_the_owner(box, name):
    subject = token(name.replace("+", "-"))
    box.deliver(letter(subject), to=f"{name}@demo.example")
    assert box.wait_for(subject)


def test_an_alias_reaches_every_account_that_it_leads_to(box, bob):
    box.run("alias", "add", "sales@demo.example", "ann@demo.example", "bob@demo.example")
    subject = token()
    box.deliver(letter(subject), to="sales@demo.example")
    assert box.wait_for(subject) and box.wait_for(subject, login=bob[0], password=bob[1])
    box.run("alias", "remove", "sales@demo.example")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        box.deliver(letter(token()), to="sales@demo.example")


def test_an_unknown_recipient_is_refused_in_the_session(box):
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        box.deliver(letter(token()), to="nobody@demo.example")
    code, words = refused.value.recipients["nobody@demo.example"]
    assert code == 550 and words.startswith(b"5.1.1")


def test_one_wrong_recipient_does_not_keep_the_others_from_their_mail(box):
    subject = token()
    refused = box.deliver(letter(subject), to=["nobody@demo.example", "ann@demo.example"])
    assert list(refused) == ["nobody@demo.example"]
    assert box.wait_for(subject)


@pytest.mark.parametrize("to", ["someone@elsewhere.test", "someone%elsewhere.test@demo.example", "@demo.example:a@b.test"])
def test_strangers_cannot_relay(box, to):
    with box.smtp() as link:
        link.ehlo()
        link.mail("friend@peer.test")
        code, _ = link.rcpt(to)
        assert 500 <= code < 600


def test_a_login_is_not_offered_on_port_25(box):
    with box.smtp() as link:
        link.starttls(context=box.trust())
        link.ehlo()
        assert not link.has_extn("auth")


def conversation(box, *lines):
    """Sends raw bytes after a normal start up to DATA's 354; returns what the box says to them."""
    with socket.create_connection(box.at("smtp"), timeout=20, source_address=("127.0.0.2", 0)) as link:
        stream = link.makefile("rb")

        def reply():
            while (line := stream.readline())[3:4] == b"-":
                pass
            return line

        reply()
        for command in (b"EHLO mx.peer.test", b"MAIL FROM:<friend@peer.test>", b"RCPT TO:<ann@demo.example>", b"DATA"):
            link.sendall(command + b"\r\n")
            answer = reply()
        assert answer.startswith(b"354")
        link.sendall(b"".join(lines))
        link.settimeout(3)
        said = []
        try:
            while line := reply():
                said.append(line)
        except TimeoutError:
            pass
        return said


SMUGGLED = b"MAIL FROM:<boss@bank.test>\r\nRCPT TO:<ann@demo.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nboo\r\n.\r\n"


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"\r\n\0.\r\n"])
def test_no_second_message_can_be_smuggled_in(box, end):
    subject = token("smuggle")
    message = letter(subject).encode().replace(b"\n", b"\r\n").rstrip(b"\r\n")
    said = conversation(box, message + end + SMUGGLED)
    assert sum(line.startswith(b"250") for line in said) <= 1, said
    inbox = [one.lower() for one in box.messages().values()]
    assert not [one for one in inbox if b"\nsubject: smuggled" in one.split(b"\r\n\r\n")[0]]


def test_an_announced_size_that_is_too_large_is_refused_at_once(box):
    with box.smtp() as link:
        link.ehlo()
        assert int(link.esmtp_features["size"]) == 50 << 20
        code, words = link.mail("friend@peer.test", ["SIZE=99999999"])
        assert code == 552 and b"5.3.4" in words


def test_a_message_that_goes_in_circles_is_refused(box):
    received = "Received: from a.peer.test by b.peer.test; Sat, 21 Nov 2026 05:00:00 +0000\n" * 60
    with pytest.raises(smtplib.SMTPDataError) as refused:
        box.deliver(received + letter(token()))
    assert refused.value.smtp_code == 554


def test_eight_bit_text_and_dots_arrive_as_they_were_sent(box):
    subject, body = token(), "Grüße aus Köln.\n.\n..two dots\n.one\nendé\n"
    box.deliver(letter(subject, body))
    message = box.wait_for(subject)
    assert message.endswith(body.encode().replace(b"\n", b"\r\n"))


def test_commands_may_come_all_at_once(box):
    subject = token()
    message = letter(subject).encode().replace(b"\n", b"\r\n")
    with socket.create_connection(box.at("smtp"), timeout=20, source_address=("127.0.0.2", 0)) as link:
        stream = link.makefile("rb")
        assert stream.readline().startswith(b"220")
        link.sendall(b"EHLO mx.peer.test\r\n")
        while stream.readline()[3:4] == b"-":
            pass
        link.sendall(b"MAIL FROM:<friend@peer.test>\r\nRCPT TO:<ann@demo.example>\r\nDATA\r\n")
        assert [stream.readline()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        link.sendall(message + b".\r\nQUIT\r\n")
        assert [stream.readline()[:3] for _ in range(2)] == [b"250", b"221"]
    assert box.wait_for(subject)


def test_who_asks_for_one_unknown_name_after_the_other_is_cut_off(box):
    with box.smtp() as link:
        link.ehlo()
        link.mail("friend@peer.test")
        codes = [link.rcpt(f"guess{number}@demo.example")[0] for number in range(4)]
        assert codes == [550] * 4


def test_mail_goes_on_while_the_filter_is_away(own_box):
    """It is put off with a 4xx or taken, never lost: the sender that tries again gets through."""
    subject = token()
    own_box.kill("filter")

    def sent():
        try:
            own_box.deliver(letter(subject))
            return True
        except smtplib.SMTPResponseException as error:
            assert 400 <= error.smtp_code < 500, error
        return False

    eventually(sent, 20, "a filter that is back")
    assert own_box.wait_for(subject)
