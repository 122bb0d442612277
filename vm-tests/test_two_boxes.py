"""Two boxes of different owners: what one sends, the other believes; and each can tell what became of it."""

import json
import re

import pytest

from small_internet import mail, product
from small_internet.shell import WorldError, wait_for

from test_transport import trace, wait_for_step

INVITATION = """\
Dear all,

we meet on Thursday at seven in the usual place. Anna brings the photographs of the summer, and whoever has some is
asked to bring theirs too. Please tell me by Tuesday whether you come, so that I can book the large table.

Kind regards
"""


@pytest.fixture(scope="module")
def second(world, signer, first_install):
    """An installed box of another owner, with a domain of its own."""
    owner = product.Neighbour.moves_in(world, signer)
    yield owner
    owner.moves_out()


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


VIEW = "/.well-known/mailstead/ports"


def peer_checks(owner):
    said = owner.run("status", "--json", "--fresh", "--group", "peer-ports-ipv4", "--group", "peer-ports-ipv6", check=False)
    return {check["id"]: check for check in json.loads(said.out)}


def wait_for_state(owner, state):
    def seen():
        found = peer_checks(owner)
        if {check["state"] for check in found.values()} != {state}:
            raise WorldError("\n".join(f"{name}: {check['state']}: {check['seen']}" for name, check in found.items()))
        return found

    return wait_for(seen, 40, f"the checks of peers to be {state}", interval=3)


def test_boxes_look_at_each_others_ports_once_each_names_the_other_and_at_nobody_elses(world, settled, second):
    assert {check["state"] for check in peer_checks(settled).values()} == {"skipped"}
    settled.name_peers(second.hostname)
    refused = wait_for_state(settled, "unknown")["peer-ports-ipv4"]
    assert f"{settled.box.ipv4} is not an address of a box that this one names in its peers" in refused["seen"], refused["seen"]
    remedy = f"peers: [{settled.hostname}]"
    assert remedy in refused["remedy"] and "mailstead apply" in refused["remedy"], refused["remedy"]
    second.name_peers(settled.hostname)
    for owner, other in ((settled, second), (second, settled)):
        seen = wait_for_state(owner, "ok")["peer-ports-ipv6"]["seen"]
        assert seen == f"{other.hostname} reaches 9 ports", seen

    ask = ["curl", "-sS", "--cacert", "/etc/small-internet/issued-root.pem", "-w", "%{http_code}"]
    stranger = world.laptop.run(*ask, f"https://{second.hostname}{VIEW}").out
    assert "not an address of a box that this one names in its peers" in stranger and stranger.endswith("403")
    more = settled.box.run(*ask[:2], "-4", "-w", "%{http_code}", f"https://{second.hostname}{VIEW}?ports=25,22").out
    assert more.endswith("400") and "25, 53, 80" in more, more
    view = json.loads(settled.box.run(*ask[:2], "-4", f"https://{second.hostname}{VIEW}?ports=25").out)
    assert (view["address"], view["ports"]) == (settled.box.ipv4, {"25": "open"}), view
    assert view["greeting"].startswith(f"220 {settled.hostname} "), view

    second.box.run("systemctl stop nginx")
    away = wait_for_state(settled, "unknown")["peer-ports-ipv4"]
    assert "refused" in away["seen"] and f"https://{second.hostname}/setup" in away["remedy"], away
    second.box.run("systemctl start nginx")
    wait_for_state(settled, "ok")
    settled.name_peers()
    second.name_peers()


def test_a_box_that_names_itself_as_peer_or_too_many_is_told_so(settled):
    for peers, words in (
        ([settled.hostname], "is this box itself"),
        ([f"box{number}.neighbour.net" for number in range(2, 11)], "8 are the most"),
    ):
        before = settled.box.read("/etc/mailstead/box.yaml")
        settled.box.write("/etc/mailstead/box.yaml", f"{before}peers: [{', '.join(peers)}]\n")
        said = settled.run("apply", check=False)
        settled.box.write("/etc/mailstead/box.yaml", before)
        assert said.code != 0 and words in said.err and "nothing was changed" in said.err, said
