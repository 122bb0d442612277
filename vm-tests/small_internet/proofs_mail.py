"""Proofs of the checks of mail under way: how it is taken elsewhere, by which way it leaves, how it comes in."""

import re

from . import mail
from .proofs import OLDER, Proof, an_old_letter, sql
from .proofs_names import delete_the_rules
from .shell import wait_for


def _history(statement):
    return sql("queue/history.db", statement, "mta")


def _a_day_of_mail(sent, put_off, refused):
    """What the history holds after a day of mail to a large provider."""
    rows = (
        f"INSERT INTO volume VALUES ('google', strftime('%s') / 86400, {sent}, {put_off}, {refused})",
        "INSERT INTO answered VALUES ('google', strftime('%s') / 86400, 421, '4.7.28', 'unusual rate of mail', 12)",
        "INSERT INTO answered VALUES ('google', strftime('%s') / 86400, 550, '5.7.1', 'likely unsolicited', 12)",
    )
    return "; ".join(_history(row) for row in rows)


# Days go by without such mail.
DAYS_LATER = _history("DELETE FROM volume") + "; " + _history("DELETE FROM answered")

PROVIDERS = [
    Proof("put-off", _a_day_of_mail(10, 12, 0), "Gmail.*: 12 of 22 tries since yesterday put off", "warning",
          remedy=("mailstead sending volume",), gone=DAYS_LATER),
    Proof("refusals", _a_day_of_mail(10, 0, 12), "Gmail.*: 12 of 22 tries since yesterday refused", "warning",
          remedy=("mailstead trace refused", "mailstead sending volume"), fails=("mailstead trace refused",), gone=DAYS_LATER),
    Proof("volume", _a_day_of_mail(500, 0, 0), "Gmail.*: 500 messages today, sensible are", "notice",
          remedy=("mailstead sending list", "mailstead sending volume"), gone=DAYS_LATER),
]  # fmt: skip


def _mail_that_is_kept_back(place):
    an_old_letter(place)
    place.owner.run("queue", "hold", "--all")
    place.do(OLDER.replace("5 * 3600", "55 * 3600"))


def _release(place, result):
    for command in ("show", "release"):
        place.owner.run(*re.search(rf"mailstead (queue {command} \S+)", result["remedy"]).group(1).split())


# Somebody has moved so much into Junk that every word is one of spam.
EVERY_WORD = (
    "WITH RECURSIVE every(bucket) AS (SELECT 0 UNION ALL SELECT bucket + 1 FROM every WHERE bucket < 32767) "
    "INSERT OR REPLACE INTO correction SELECT bucket, 5.0 FROM every"
)

LEARNED = [
    Proof("filter-samples", sql("filter/spam.db", EVERY_WORD, "filter"), "a letter: junk, at 6.* its words are those of spam with 100 %", "warning",
          also=("round-trip",), remedy=("mailstead filter show", "mailstead filter forget")),
]  # fmt: skip

HELD = [
    Proof("queue-held", _mail_that_is_kept_back, "later@peer.org: kept back, 2 days old", "notice", also=("queue",), by_hand=_release,
          after="mailstead queue remove --all"),
]  # fmt: skip


def _report(kind, bad, *more):
    """A report of another server, as the filter keeps those that it took."""
    row = (
        "INSERT INTO report (kind, organisation, name, domain, begin, until, good, bad, authenticated, taken) VALUES "
        f"('{kind}', 'Example Mail', 'proof', 'example.com', strftime('%s') - 90000, strftime('%s') - 4000, 5, {bad}, 1, strftime('%s'))"
    )
    return "; ".join(sql("filter/reports.db", row, "filter") for row in (row, *more))


def _show_the_report(place, result):
    place.owner.run(*re.search(r"mailstead (reports show \S+)", result["remedy"]).group(1).split())
    place.do(A_WEEK_LATER)


A_WEEK_LATER = sql("filter/reports.db", "DELETE FROM report", "filter")

REPORTS = [
    Proof("tls-reports", _report("tls", 3), "example.com: 3 sessions with Example Mail failed, 5 succeeded", "warning", by_hand=_show_the_report),
    Proof("own-mail-authenticated", _report("dmarc", 50, "INSERT INTO source SELECT max(id), '45.90.101.10', 0, 0, 50 FROM report"),
          "example.com: 50 of 50 messages were not authenticated", "warning", remedy=("mailstead reports list",), gone=A_WEEK_LATER),
]  # fmt: skip

# --- ways out


def _no_way_out(what):
    return ("nft 'add table inet provider; add chain inet provider out { type filter hook output priority 0; }; "
            f"add rule inet provider out oif != lo {what} drop'")  # fmt: skip


OPEN_AGAIN = "nft delete table inet provider"

# The server that plays Gmail is reached with another address than the box's own.
ANOTHER_ADDRESS = """
there=$(getent {database} gmail-smtp-in.l.google.com | head -1 | cut -d' ' -f1)
ip address add {address} dev lo; sleep 1.5
ip {flag} route add $there $(ip {flag} route show default | sed 's/default//; s/proto.*//; s/metric.*//' | head -1) src {source}
"""
ITS_OWN_AGAIN = """
ip {flag} route del $(getent {database} gmail-smtp-in.l.google.com | head -1 | cut -d' ' -f1); ip address del {address} dev lo
"""


def _own_address(family, database, flag, source, bits):
    what = {"database": database, "flag": flag, "address": f"{source}/{bits}", "source": source}

    def follow(place, result):
        assert re.search("remove it, or its route", result["remedy"]), result["remedy"]
        assert source in place.said(re.search("See why:  (.*)", result["remedy"]).group(1))
        place.do(ITS_OWN_AGAIN.format(**what))

    return Proof(f"own-address-{family}", ANOTHER_ADDRESS.format(**what), f"^{source}$", perhaps=("outbound-25", "outbound-ipv6", "as-planned"), by_hand=follow)


def _public_ports(family, word, address):
    return Proof(f"public-ports-{family}", f"nft 'add table inet proof; add chain inet proof out {{ type filter hook output priority 0; }}; "
                 f"add rule inet proof out {word} daddr {address} tcp dport 993 reject with tcp reset'", f"port 993 at {address}: .*refused",
                 by_hand=delete_the_rules)  # fmt: skip


WAYS = [
    _public_ports("ipv4", "ip", "45.90.101.10"),
    _public_ports("ipv6", "ip6", "2a0d:5600:101::10"),
    Proof("outbound-ipv6", _no_way_out("meta nfproto ipv6 tcp dport 25"), "no answer within", "warning", by_hand=lambda place, result: (
        re.search("open outbound TCP port 25 for 2a0d:", result["remedy"]).group(0), place.do(OPEN_AGAIN))),
    Proof("certificate-authority", _no_way_out("tcp dport { 443, 14000 }"), "acme.authority.org: .*no answer within", "warning",
          by_hand=lambda place, result: (re.search("nft list ruleset", result["remedy"]).group(0), place.do(OPEN_AGAIN))),
    _own_address("ipv4", "ahostsv4", "-4", "45.90.101.77", 32),
    _own_address("ipv6", "ahostsv6", "-6", "2a0d:5600:ffff::77", 128),
    Proof("relays", "mailstead relay set to:far.example.org mail.peer.org:4465 --untested", "mail.peer.org:4465: connecting to",
          remedy=("mailstead relay test to:far.example.org", "mailstead relay remove to:far.example.org"), fails=("mailstead relay test to:far.example.org",)),
    Proof("round-trip", "nft 'add table ip proof; add chain ip proof out { type filter hook output priority 0; }; "
          "add rule ip proof out ip daddr 45.90.101.10 tcp dport 25 reject with tcp reset'", r"box.example.com \[45.90.101.10\]: .*refused",
          also=("public-ports-ipv4",), by_hand=delete_the_rules),
    Proof("backup-mx", "mailstead backup-mx add example.org --primary mx.example.org", "example.org: its MX records do not name this box", "warning",
          remedy=("mailstead backup-mx remove example.org",)),
    Proof("alias-targets", "mailstead alias add friends@example.com joe@nowhere.example.org", "friends@example.com: nowhere.example.org takes no mail",
          "warning", remedy=("mailstead alias remove friends@example.com",)),
]  # fmt: skip

# --- accounts


def _a_held_post(place):
    """A moderator is to decide on a post, and eight days go by."""
    password = place.owner.add_user("jane@example.com")
    place.owner.run("list", "add", "club@example.com", "--moderated")
    place.owner.run("list", "member", "add", "club@example.com", "jane@example.com")
    mail.submit(place.world, "jane@example.com", password, "club@example.com", mail.subject("post"), server=place.owner.hostname)
    wait_for(lambda: "jane@" in place.owner.run("list", "pending").out, 20, "the post to wait", interval=0.3)
    place.do(EIGHT_DAYS)


EIGHT_DAYS = r"""
set -e; systemctl stop mailstead-mta
python3 - <<'END'
import json, pathlib
for file in pathlib.Path("/var/lib/mailstead/queue/.lists/held").iterdir():
    head, rest = file.read_bytes().split(b"\n", 1)
    post = json.loads(head)
    post["at"] -= 8 * 86400
    file.write_bytes(json.dumps(post).encode() + b"\n" + rest)
END
systemctl start mailstead-mta; sleep 0.5
"""


def _reject(place, result):
    place.owner.run(*re.search(r"mailstead (list reject \S+)", result["remedy"]).group(1).split())


def _a_full_mailbox(place):
    place.owner.add_user("june@example.com")
    mail.submit(place.world, place.owner.email, place.owner.password, "june@example.com", mail.subject("large"),
                "--attach", "@/usr/bin/openssl", server=place.owner.hostname)  # fmt: skip
    place.owner.run("quota", "set", "june@example.com", "1M")


ACCOUNTS = [
    Proof("held-posts", _a_held_post, "“.*” of .*jane@example.com has waited for 8 days", "notice", by_hand=_reject,
          after="mailstead list remove club@example.com; mailstead user remove jane@example.com"),
    Proof("quotas", _a_full_mailbox, r"june@example.com: 1\d\d % of 1 MB", "warning", remedy=("mailstead quota set june@example.com 20G",),
          after="mailstead quota remove june@example.com; mailstead user remove june@example.com"),
]  # fmt: skip

ALL = [*PROVIDERS, *LEARNED, *HELD, *REPORTS, *WAYS, *ACCOUNTS]
