"""Two boxes of different owners: what one sends, the other believes; and each can tell what became of it."""

import json
import re

import pytest

from small_internet import mail, product
from small_internet.shell import wait_for

from test_transport import trace, wait_for_step

INVITATION = """\
Dear all,

we meet on Thursday at seven in the usual place. Anna brings the photographs of the summer, and whoever has some is
asked to bring theirs too. Please tell me by Tuesday whether you come, so that I can book the large table.

Kind regards
"""


class Neighbour(product.Owner):
    """The owner of the second box."""

    def greet(self):
        """A name for the box at its provider and the registrar, the set-up, and then the DS."""
        self.at_the_provider()
        self.learn(self.install().out)
        self.wait_for_services()
        self.enter_ds()


@pytest.fixture(scope="module")
def second(world, signer, first_install):
    """An installed box of another owner, with a domain of its own."""
    mirror = product.Mirror(world, signer)
    mirror.publish(product.version())
    owner = Neighbour(world, world.box("box2"), "ann@neighbour.net", "box2.neighbour.net")
    owner.put_key(signer)
    owner.greet()
    yield owner
    world.remove("box2")
    world.names.undelegate("neighbour.net")


def send(world, owner, to, title, body=INVITATION):
    mail.post_all(world, owner, [mail.letter(owner.email, to, title, body)])


def find(world, owner, title, folder="INBOX"):
    return mail.wait_for_mail(world, owner.email, owner.password, owner.hostname, title, folder)


def results(message):
    """What the receiving box found out itself: its Authentication-Results stand on top."""
    return str(message.get_all("authentication-results")[0])


def arrival(owner, title):
    return json.loads(owner.run("trace", "--json", *title.split()).out)[0]["arrival"]


@pytest.fixture(params=["there", "back"])
def both_ways(request, settled, second):
    return (settled, second) if request.param == "there" else (second, settled)


def test_mail_between_two_boxes_is_authenticated_and_verified_by_dane(world, both_ways):
    sender, receiver = both_ways
    title = mail.subject("an invitation")
    send(world, sender, receiver.email, title)
    message = find(world, receiver, title)
    for verdict in ("spf=pass", "dkim=pass", "dmarc=pass"):
        assert verdict in results(message), results(message)
    assert f"header.from={sender.domain}" in results(message)
    step = wait_for_step(sender, title, "sent")
    assert "verified by DANE" in step["security"] and step["server"].startswith(receiver.hostname), step
    assert "stored" in [step["what"] for step in trace(receiver, title)]
    assert arrival(receiver, title)["helo"] == sender.hostname
    told = receiver.run("trace", *title.split()).out
    assert f"came from {sender.hostname}" in told and "over TLS" in told and "judged: accept" in told, told


def test_a_forwarded_message_is_believed_by_the_next_box(world, settled, second):
    settled.run("alias", "add", "away@example.com", second.email)
    title = mail.subject("to be passed on")
    outcome, said = mail.peer_outcome(world, mail.peer_sends(world, "away@example.com", title, INVITATION))
    assert outcome == "sent", said
    message = find(world, second, title)
    assert re.match(r"<?SRS0=.*=peer\.org=friend@example\.com", str(message["return-path"])), message["return-path"]
    for verdict in ("spf=pass", "dkim=pass", "dmarc=pass", "arc=pass"):
        assert verdict in results(message), results(message)
    assert re.search(r"i=1;.*cv=none", str(message["arc-seal"]).replace("\n", " "))
    assert "spf=pass" in str(message["arc-authentication-results"])
    told = settled.run("trace", *title.split()).out
    assert second.email in told and "passed on" in told, told
    assert "verified by DANE" in wait_for_step(settled, title, "sent")["security"]


def test_a_bounce_of_a_forwarded_message_finds_its_first_sender(world, settled, second):
    settled.run("alias", "add", "gone@example.com", "nobody-there@neighbour.net")
    title = mail.subject("passed on in vain")
    outcome, said = mail.peer_outcome(world, mail.peer_sends(world, "gone@example.com", title, INVITATION))
    assert outcome == "sent", said

    def bounced():
        for message in mail.peer_mailbox(world):
            if message.get_content_type() == "multipart/report" and title in message.as_string():
                return message
        return None

    bounce = wait_for(bounced, 40, "the bounce at the first sender's", interval=0.5)
    assert "Status: 5.1.1" in bounce.as_string()
    assert "dkim=pass" in " ".join(bounce.get_all("authentication-results"))


def test_what_the_other_box_refuses_comes_back_as_a_report(world, both_ways):
    sender, receiver = both_ways
    title, nobody = mail.subject("to nobody"), f"no-such-person@{receiver.domain}"
    send(world, sender, nobody, title)
    message = mail.wait_for_report(world, sender, nobody).as_string()
    assert "Status: 5.1.1" in message and f"Remote-MTA: dns; {receiver.hostname}" in message and title in message
    failed = wait_for_step(sender, title, "failed")
    assert failed["code"] == 550 and failed["means"], failed


def test_a_list_reaches_its_member_at_the_other_box_and_takes_their_answers(world, settled, second):
    club = "club@example.com"
    settled.run("list", "add", club, "--name", "The club")
    settled.run("list", "member", "add", club, settled.email, second.email)
    title = mail.subject("the next meeting")
    send(world, settled, club, title)
    message = find(world, second, title)
    assert "club.example.com" in str(message["list-id"]) and message["list-unsubscribe"]
    for verdict in ("spf=pass", "dkim=pass", "dmarc=pass"):
        assert verdict in results(message), results(message)
    find(world, settled, title)
    answer = mail.subject("I am coming too")
    send(world, second, club, answer)
    here = find(world, settled, answer)
    assert "club.example.com" in str(here["list-id"])
    find(world, second, answer)

    def passed_on():
        """The list's copies are messages of their own."""
        found = json.loads(settled.run("trace", "--json", *answer.split()).out)
        ways = {one["arrival"]["way"]: [step["what"] for step in one["steps"]] for one in found}
        return "inbound" in ways and "sent" in ways.get("list", [])

    wait_for(passed_on, 20, "the trace to tell of the copy for the member", interval=0.5)
