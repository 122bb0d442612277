"""Aliases, mailing lists and backup domains: where mail goes that is for more than one mailbox."""

import email
import re
import smtplib
import urllib.parse

import dkim
import pytest
from outside.box import eventually
from outside.letters import letter, token
from test_commands import mistake
from test_panel import Browser
from test_signatures import served_txt


def test_an_alias_passes_mail_on_with_a_seal_that_dkimpy_believes_and_the_bounce_comes_back(box, friend):
    box.run("alias", "add", "both@demo.example", "ann@demo.example", "further@peer.test")
    subject = token()
    box.deliver(letter(subject), to="both@demo.example")
    assert box.wait_for(subject)
    got = friend.wait_for(subject)
    assert got.recipients == ["further@peer.test"]
    assert re.fullmatch(r"SRS0=.{4}=..=peer\.test=friend@demo\.example", got.sender), got.sender
    assert got.message["Delivered-To"] == "both@demo.example"
    verdict, sets, why = dkim.arc_verify(got.raw, dnsfunc=served_txt(box))
    assert (verdict, len(sets)) == (b"pass", 1), why
    assert "dmarc=pass" in got.message["ARC-Authentication-Results"]

    bounce = token("returned")
    box.deliver(letter(bounce, From_="mailer-daemon@peer.test"), to=got.sender, sender="")
    back = friend.wait_for(bounce)
    assert (back.sender, back.recipients) == ("", ["friend@peer.test"])
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        box.deliver(letter(token()), to=got.sender.replace("friend@", "fiend@"), sender="")


def test_catch_alls_domain_aliases_and_aliases_for_a_while(box, bob):
    box.run("alias", "add", "@third.example", "bob@demo.example")
    box.run("alias", "domain", "fourth.example", "demo.example")
    box.run("alias", "add", "shop7@demo.example", "bob@demo.example", "--until", "2099-12-31")
    for to in ["anything@third.example", "bob+x@fourth.example", "shop7@demo.example"]:
        subject = token()
        box.deliver(letter(subject), to=to)
        assert box.wait_for(subject, login=bob[0], password=bob[1]), to
    shown = box.run("alias", "list").stdout
    assert "(until 2099-12-31)" in shown and "(the whole domain)" in shown and "@third.example" in shown
    listed = box.json("alias", "list")
    assert {"from": "fourth.example", "to": "demo.example"} in listed["domains"]
    for name in ["@third.example", "fourth.example", "shop7@demo.example"]:
        box.run("alias", "remove", name)
    mistake(box.run("alias", "add", "x@demo.example", "bob@demo.example", "--until", "2001-01-01", check=False), "past")
    mistake(box.run("alias", "remove", "fourth.example", check=False), "fourth.example")


def test_a_list_lets_people_in_out_and_waits_for_its_moderator(box, friend, bob):
    box.run("list", "add", "club@demo.example", "--name", "The club", "--moderator", "ann@demo.example")
    box.run("list", "member", "add", "club@demo.example", "friend@peer.test", bob[0])
    members = lambda: [member["address"] for member in box.json("list", "show", "club@demo.example")["members"]]
    subject = token()
    box.deliver(letter(subject), to="club@demo.example")
    copy = box.wait_for(subject, login=bob[0], password=bob[1])
    for line in [b"List-Id: The club <club.demo.example>", b"Precedence: list", b"List-Unsubscribe: <mailto:club+unsubscribe-"]:
        assert line in copy
    got = friend.wait_for(subject)
    assert got.sender.startswith("club+bounces-") and dkim.DKIM(got.raw).verify(dnsfunc=served_txt(box))
    assert dkim.arc_verify(got.raw, dnsfunc=served_txt(box))[0] == b"pass"

    stranger = token("stranger")
    box.deliver(letter(stranger, From_="Eve <eve@peer.test>"), to="club@demo.example", sender="eve@peer.test")
    assert b"club+approve-" in box.wait_for("waits for you")
    (waiting,) = box.json("list", "pending")
    assert waiting["subject"] == stranger
    box.run("list", "approve", waiting["id"])
    assert box.wait_for(stranger, login=bob[0], password=bob[1])
    assert box.json("list", "pending") == []

    # RFC 8058: one click of the mail program is enough, and the signature covers both fields; a look changes nothing.
    header = email.message_from_bytes(got.raw)
    signed = re.sub(r"\s", "", header["DKIM-Signature"].partition("h=")[2].partition(";")[0]).lower().split(":")
    assert {"list-unsubscribe", "list-unsubscribe-post"} <= set(signed)
    assert header["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = urllib.parse.urlsplit(re.search(r"<(https:[^>]+)>", header["List-Unsubscribe"]).group(1))
    web, click = Browser(box), {"List-Unsubscribe": "One-Click"}
    query = f"{link.path}?{link.query}"
    assert web.ask("GET", query)[0] == 200 and len(members()) == 2
    assert web.ask("POST", query[:-1] + "~", click)[0] == 200 and len(members()) == 2
    status, _, page = web.ask("POST", query, click)
    assert (status, members()) == (200, [bob[0]]) and "friend@peer.test gets no more mail" in page
    assert web.ask("POST", query, click)[0] == 200
    assert web.ask("GET", "/list/leave?list=club@demo.example")[0] == 404
    box.run("list", "member", "add", "club@demo.example", "friend@peer.test")

    way_out = re.search(r"club\+unsubscribe-\w+@demo\.example", copy.decode()).group()
    box.deliver(letter(token()), to=way_out, sender="whoever@peer.test")
    eventually(lambda: members() == ["friend@peer.test"], words="bob's leaving")
    mistake(box.run("list", "member", "remove", "club@demo.example", bob[0], check=False), "no member")
    late = token("late")
    box.deliver(letter(late, From_="Eve <eve@peer.test>"), to="club@demo.example", sender="eve@peer.test")
    eventually(lambda: [post["subject"] for post in box.json("list", "pending")] == [late], words="another post that waits")
    box.run("list", "remove", "club@demo.example")
    assert box.json("list", "list") == [] and box.json("list", "pending") == []


def test_a_backup_takes_mail_for_those_whom_the_primary_knows(box, world, friend):
    box.run("backup-mx", "add", "peer.test", "--primary", "mx.peer.test")
    assert box.json("backup-mx", "list") == [{"domain": "peer.test", "primary": "mx.peer.test"}]
    subject = token()
    box.deliver(letter(subject), to="amy@peer.test")
    assert friend.wait_for(subject).recipients == ["amy@peer.test"]
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        box.deliver(letter(token()), to="refused@peer.test")
    assert refused.value.recipients["refused@peer.test"][0] == 550
    box.run("backup-mx", "remove", "peer.test")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        box.deliver(letter(token()), to="amy@peer.test")
