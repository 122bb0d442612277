"""Other people's servers at their worst: nothing is lost, nothing comes twice for no reason, nobody waits for another.

A box has no clock that could be turned, so "later" comes by `mailstead queue retry` here; what days of 4xx lead to is
shown in the MTA's own tests (src/mta/tests/mta/queue.rs).
"""

import json
import time

import pytest

from small_internet import mail
from small_internet.shell import wait_for

from test_transport import trace, wait_for_step

# More domains than deliveries are made at once.
SILENT_DOMAINS = 60
LONG = "This letter goes on for a while, as letters to people who are dear to us do.\n" * 200


def taken(world, title=None):
    """What arrived at the awkward servers."""
    path = world.host("awkward").path("/var/log/awkward.log")
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [event for event in events if event["event"] == "taken" and title in (None, event["subject"])]


def wait_for_arrival(world, title, timeout=40):
    """The one arrival that was acknowledged."""

    def there():
        return [event for event in taken(world, title) if event["acknowledged"]]

    found = wait_for(there, timeout, f"“{title}” to arrive", interval=0.3)
    assert len(found) == 1, found
    return found[0]


class Post:
    """The owner's letters to all of the awkward servers, which are sent at once: each test waits for its own."""

    def __init__(self, world, owner):
        self.owner, self.sent = owner, {}
        silent = [f"x@d{number}.silent" for number in range(SILENT_DOMAINS)]
        places = ["a@sound", "a@grey", "a@drips", "a@busy", "nobody@refuses", "somebody@refuses", "a@second", "a@null"]
        places += ["lines@talks", "more@talks", "wide@talks", "a@breaks", "a@loses", "a@data"]
        places += [f"a{number}@dot" for number in range(5)]
        self._send(world, silent)
        self.began = time.monotonic()
        self._send(world, places)

    def _send(self, world, places):
        letters = []
        for place in places:
            name, host = place.split("@")
            title = mail.subject(f"to {name} at {host}")
            letters.append(mail.letter(self.owner.email, f"{name}@{host}.awkward.org", title, LONG))
            self.sent[place] = title
        mail.post_all(world, self.owner, letters)

    def retry(self, host):
        self.owner.run("queue", "retry", "--to", f"{host}.awkward.org")


@pytest.fixture(scope="module")
def keep():
    """What the tests of this file share."""
    return {}


@pytest.fixture
def post(world, settled, keep):
    if "post" not in keep:
        keep["post"] = Post(world, settled)
    return keep["post"]


@pytest.fixture(scope="module", autouse=True)
def tidy(world, keep):
    yield
    if "post" in keep:
        world.host("awkward").write("/srv/let-go", "")
        keep["post"].owner.run("queue", "remove", "--all")


def words_of(report):
    """What a person reads of a report."""
    return next(part.get_content() for part in report.walk() if part.get_content_type() == "text/plain")


# --- those that take their time


def test_servers_that_never_speak_hold_up_nobody_elses_mail(world, post):
    arrival = wait_for_arrival(world, post.sent["a@sound"], timeout=90)
    waiting = [entry for entry in json.loads(post.owner.run("queue", "--json").out) if "silent" in json.dumps(entry)]
    assert len(waiting) == SILENT_DOMAINS
    assert time.monotonic() - post.began < 60, arrival


# --- those that say later


def test_mail_that_is_greylisted_arrives_when_it_comes_again(world, post):
    title = post.sent["a@grey"]
    step = wait_for_step(post.owner, title, "put-off")
    assert (step["code"], step["enhanced"]) == (451, "4.7.1") and "greylisted" in step["words"], step
    assert "takes it at the second try" in step["means"], step
    assert not taken(world, title)
    post.retry("grey")
    wait_for_arrival(world, title)


def test_a_server_too_busy_to_say_hello_gets_its_mail_later(world, post):
    step = wait_for_step(post.owner, post.sent["a@busy"], "put-off")
    assert step["code"] == 421 and "too busy" in step["words"], step
    post.retry("busy")
    wait_for_arrival(world, post.sent["a@busy"])


# --- those that say no


@pytest.mark.parametrize(
    "place, code, said",
    [
        ("nobody@refuses", "5.1.1", "there is no mailbox of that name here"),
        ("somebody@refuses", "5.7.1", "we do not like the content of this message"),
        ("a@null", "5.1.10", "takes no mail"),
    ],
)
def test_a_refusal_comes_back_to_the_sender_in_words(world, post, place, code, said):
    name, host = place.split("@")
    report = mail.wait_for_report(world, post.owner, f"{name}@{host}.awkward.org")
    words, status = words_of(report), report.as_string()
    assert said in words and "Nothing more will be tried." in words, words
    assert f"Status: {code}" in status and "Action: failed" in status
    assert post.sent[place] in status, "the report does not say which message"
    assert wait_for_step(post.owner, post.sent[place], "failed")["enhanced"] == code


def test_a_reply_of_a_hundred_kilobytes_is_cut_to_what_a_person_reads(world, post):
    report = mail.wait_for_report(world, post.owner, "lines@talks.awkward.org")
    assert "never heard of them" in words_of(report) and len(words_of(report)) < 5_000
    for place in ("more@talks", "wide@talks"):
        step = wait_for_step(post.owner, post.sent[place], "put-off")
        assert "not SMTP" in step["words"] and len(step["words"]) < 2_000, step
    restarts = post.owner.box.run("systemctl", "show", "-p", "NRestarts", "--value", "mailstead-mta").out.strip()
    assert restarts == "0"


# --- those that break off


def test_a_connection_lost_after_the_final_dot_costs_one_copy_and_no_message(world, post):
    titles = [title for place, title in post.sent.items() if place.endswith("@dot")]
    for title in titles:
        assert "may have arrived" in wait_for_step(post.owner, title, "put-off")["words"]
    post.retry("dot")
    for title in titles:
        wait_for_arrival(world, title)
        assert [event["acknowledged"] for event in taken(world, title)] == [False, True]


def test_a_connection_lost_within_a_message_costs_nothing(world, post):
    title = post.sent["a@data"]
    wait_for_step(post.owner, title, "put-off")
    assert not taken(world, title)
    post.retry("data")
    wait_for_arrival(world, title)
    assert len(taken(world, title)) == 1


def test_when_the_first_servers_are_down_the_next_gets_the_mail(world, post):
    wait_for_arrival(world, post.sent["a@second"])
    step = wait_for_step(post.owner, post.sent["a@second"], "sent")
    assert step["server"].startswith("mx.sound.awkward.org [")


# --- those whose TLS is broken


def test_a_server_whose_tls_breaks_gets_its_mail_without(world, post):
    arrival = wait_for_arrival(world, post.sent["a@breaks"])
    assert not arrival["tls"] and len(taken(world, post.sent["a@breaks"])) == 1
    assert wait_for_step(post.owner, post.sent["a@breaks"], "sent")["security"] == "without TLS"


def test_a_server_whose_tls_worked_before_gets_no_plain_text_when_it_breaks(world, post):
    assert wait_for_arrival(world, post.sent["a@loses"])["tls"]
    title, owner = mail.subject("not in the clear"), post.owner
    mail.submit(world, owner.email, owner.password, "a@loses.awkward.org", title, server=owner.hostname)
    step = wait_for_step(owner, title, "put-off")
    assert "spoke TLS until lately" in step["words"], step
    assert not taken(world, title) and "sent" not in [step["what"] for step in trace(owner, title)]


# --- last, for it takes half a minute


def test_a_tarpit_gets_its_mail_at_its_pace(world, post):
    wait_for_arrival(world, post.sent["a@drips"], timeout=120)
