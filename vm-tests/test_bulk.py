"""Hundreds of messages between the box and a Postfix, in peace and while programs of both are killed: all arrive."""

import base64
import hashlib
import json
import os
import random
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.policy import SMTP

import pytest

from small_internet import mail
from small_internet.shell import WorldError, wait_for

# How many messages go each way in peace, and how often something is killed; more with KILLS=100.
BULK = 240
KILLS = int(os.environ.get("KILLS", "10"))
# Messages each way for every kill.
LETTERS_PER_KILL = 18
# Deliveries that each side has under way at once, at most (Postfix's and the queue's bound are the same): what a kill
# may have sent twice.
AT_ONCE = 10

WORDS = (
    "meeting invoice attached photographs summer garden please regards report thursday market station letter reading "
    "window music train kitchen holiday question answer project number between course weather picture morning"
).split()
COUNT = r"""
found = []
for name in folders():
    ok(imap.select('"%s"' % name, readonly=True))
    for part in ok(imap.uid("FETCH", "1:*", "(BODY.PEEK[])")):
        head, _, body = part[1].partition(b"\r\n\r\n") if isinstance(part, tuple) else (b"", b"", b"")
        if match := re.search(rb"^Message-ID: <([^>]+@bulk)>\r?$", head, re.M | re.I):
            told = re.search(rb"^X-Hash: (\w+)\r?$", head, re.M).group(1)
            found.append([match.group(1).decode(), told.decode() == hashlib.sha256(body.rstrip()).hexdigest()])
print(json.dumps(found))
"""


def prose(chance, words):
    return " ".join(chance.choice(WORDS) for _ in range(words)).capitalize() + "."


def plain(chance):
    message = EmailMessage(policy=SMTP)
    message.set_content("\n".join(prose(chance, chance.randint(3, 12)) for _ in range(chance.randint(1, 40))) + "\n")
    return message


def accented(chance):
    """In UTF-8, with eight bits."""
    message = EmailMessage(policy=SMTP)
    message.set_content("Grüße aus Köln – " + prose(chance, 30) + "\nà bientôt, 再见\n", cte="8bit")
    return message


def web(chance):
    message = EmailMessage(policy=SMTP)
    text = prose(chance, 60)
    message.set_content(text)
    message.add_alternative(f"<html><body><h1>News</h1><p>{text}</p></body></html>", subtype="html")
    return message


def attachment(chance):
    message = plain(chance)
    content = chance.randbytes(chance.randint(500, 60_000))
    message.add_attachment(content, maintype="image", subtype="jpeg", filename="häuser am see.jpg")
    return message


def dotted(chance):
    """Lines that begin with dots, one of a dot alone, and one as long as lines may be."""
    message = EmailMessage(policy=SMTP)
    message.set_content(f".first\n.\n..\n{prose(chance, 8)}\n{'x' * 990}\n.\n\n\n", cte="7bit")
    return message


def forwarded(chance):
    message, inner = plain(chance), plain(chance)
    inner["From"], inner["Subject"] = "Somebody <somebody@example.org>", prose(chance, 5)
    message.add_attachment(inner)
    return message


KINDS = (plain, accented, web, attachment, dotted, forwarded)


def letter(chance, sender, to, number):
    """A message of one of many kinds, with its id and its body's hash in the header."""
    message = KINDS[number % len(KINDS)](chance)
    identity = f"{number}.{chance.getrandbits(64):x}@bulk"
    message["From"], message["To"] = f"Ännchen <{sender}>", to
    message["Subject"] = f"{prose(chance, chance.randint(1, 30))} – {number}"
    message["Message-ID"], message["Date"] = f"<{identity}>", "Fri, 27 Nov 2026 10:00:00 +0000"
    _, _, body = message.as_bytes().partition(b"\r\n\r\n")
    message["X-Hash"] = hashlib.sha256(body.rstrip()).hexdigest()
    return {"to": to, "id": identity, "text": message.as_bytes().decode("latin-1")}


def letters(chance, sender, to, count):
    return [letter(chance, sender, to, number) for number in range(count)]


class Writers:
    """Accounts that send between them what one alone may not in an hour."""

    def __init__(self, world, owner, count):
        self.world, self.owner = world, owner
        names = [f"writer{number}.{random.getrandbits(24):x}@{owner.domain}" for number in range(count)]
        self.passwords = {name: owner.add_user(name) for name in names}

    def batches(self, chance, to, count):
        share = -(-count // len(self.passwords))
        return {name: letters(chance, name, to, share) for name in self.passwords}

    def post(self, pool, batches, pause=0):
        """Starts posting from the laptop; returns the futures."""
        laptop, server = self.world.laptop, self.owner.hostname
        return [
            pool.submit(mail.post, laptop, name, batch, server, self.passwords[name], pause)
            for name, batch in batches.items()
        ]


def at_the_box(world, owner):
    """{id: copies} of what is in the owner's folders. None of it is changed."""
    found = json.loads(mail.imap(world, owner.email, owner.password, owner.hostname, COUNT))
    assert all(whole for _, whole in found), [identity for identity, whole in found if not whole]
    return Counter(identity for identity, _ in found)


def at_the_peer(world):
    folder, found = world.peer.path("/var/mail/peer/friend"), Counter()
    for file in (file for part in ("new", "cur") for file in (folder / part).glob("*")):
        head, _, body = file.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
        if match := re.search(rb"^Message-ID: <([^>]+@bulk)>$", head, re.M | re.I):
            told = re.search(rb"^X-Hash: (\w+)$", head, re.M).group(1).decode()
            assert told == hashlib.sha256(body.rstrip().replace(b"\n", b"\r\n")).hexdigest(), file
            found[match.group(1).decode()] += 1
    return found


def wait_for_all(look, wanted, timeout, what):
    """The copies of each, once none of the wanted is missing."""

    def there():
        found = look()
        if missing := set(wanted) - set(found):
            raise WorldError(f"{len(missing)} of {len(wanted)} are missing, such as {sorted(missing)[:3]}")
        return found

    return wait_for(there, timeout, what, interval=1)


@pytest.fixture
def bulk_sender(world):
    """The peer's Postfix as large senders have it: one TLS connection for many messages."""
    reuse = ["smtp_tls_connection_reuse=yes", "smtp_connection_cache_on_demand=yes"]
    world.peer.run("postconf", "-M", "tlsproxy/unix=tlsproxy unix - - n - 0 tlsproxy")
    world.peer.run("postconf", *reuse)
    world.peer.run("postfix", "reload")
    yield
    world.peer.run("postconf", "smtp_tls_connection_reuse=no", "smtp_connection_cache_on_demand=no")
    world.peer.run("postfix", "reload")


def test_hundreds_of_messages_each_way_arrive_unchanged_and_once(world, settled, bulk_sender):
    owner, chance = settled, random.Random(25)
    mail.make_known(world, owner, "friend@peer.org")
    writers = Writers(world, owner, 2)
    to_peer = writers.batches(chance, "friend@peer.org", BULK)
    to_box = letters(chance, "friend@peer.org", owner.email, BULK)
    with ThreadPoolExecutor() as pool:
        outward = writers.post(pool, to_peer)
        inward = pool.submit(mail.post, world.peer, "friend@peer.org", to_box, "127.0.0.1")
        posted, troubles = inward.result()
        assert len(posted) == BULK, troubles
        sent = [identity for future in outward for identity in future.result()[0]]
    assert len(sent) == BULK
    at_peer = wait_for_all(lambda: at_the_peer(world), sent, 60, "all to be at the peer")
    at_box = wait_for_all(lambda: at_the_box(world, owner), posted, 90, "all to be in the box")
    assert not [identity for identity in sent if at_peer[identity] > 1]
    assert not [identity for identity in posted if at_box[identity] > 1]


def test_nothing_acknowledged_is_lost_whoever_is_killed_on_either_side(world, disposable, bulk_sender, capsys):
    owner, seed = disposable, random.getrandbits(32)
    chance = random.Random(seed)
    mail.make_known(world, owner, "friend@peer.org")
    writers = Writers(world, owner, max(2, KILLS // 8))
    count = KILLS * LETTERS_PER_KILL
    to_peer = writers.batches(chance, "friend@peer.org", count)
    to_box = letters(chance, "friend@peer.org", owner.email, count)

    def kill():
        victim = chance.choice(["mta", "mailbox", "filter", "smtpd", "smtp", "qmgr"])
        if victim in ("mta", "mailbox", "filter"):
            owner.box.run("systemctl", "kill", "--signal=SIGKILL", f"mailstead-{victim}.service")
        else:
            # In the peer's own namespace of processes.
            world.peer.run("pkill", "-KILL", "-x", victim, check=False)

    with ThreadPoolExecutor() as pool:
        outward = writers.post(pool, to_peer, pause=0.1)
        inward = pool.submit(mail.post, world.peer, "friend@peer.org", to_box, "127.0.0.1", None, 0.05)
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.5, 2))
            kill()
        posted = inward.result()[0]
        sent = [identity for future in outward for identity in future.result()[0]]
    owner.wait_for_services()
    assert min(len(posted), len(sent)) > count / 4, (len(posted), len(sent), count)

    def peer_has():
        owner.run("queue", "retry", "--all", check=False)  # an empty queue is a mistake to it
        return at_the_peer(world)

    def box_has():
        world.peer.run("postqueue", "-f")
        return at_the_box(world, owner)

    at_peer = wait_for_all(peer_has, sent, 90, f"all that the box took to be at the peer (seed {seed})")
    at_box = wait_for_all(box_has, posted, 90, f"all that the peer took to be in the box (seed {seed})")
    twice = [sum(found.values()) - len(found) for found in (at_peer, at_box)]
    with capsys.disabled():
        print(f"\n{KILLS} kills: {len(sent)} out, {twice[0]} of them twice; {len(posted)} in, {twice[1]} twice")
    assert max(twice) <= AT_ONCE * KILLS, twice
