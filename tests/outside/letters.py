"""Messages as people and machines write them."""

import itertools
import os
from email.utils import formatdate, make_msgid

_numbers = itertools.count(1)


def token(name="note"):
    """A word that no other message has."""
    return f"{name}-{os.getpid()}-{next(_numbers)}"


def letter(subject, body="Shall we meet on Thursday at four, at the usual place?\n", **fields):
    """A plain letter from friend@peer.test to Ann; `fields` add to or replace its header (From_ becomes From)."""
    header = {
        "From": "Friend <friend@peer.test>",
        "To": "Ann <ann@demo.example>",
        "Subject": subject,
        "Date": formatdate(),
        "Message-ID": make_msgid(domain="peer.test"),
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
    }
    header.update({name.rstrip("_").replace("_", "-"): value for name, value in fields.items()})
    lines = [f"{name}: {value}" for name, value in header.items() if value is not None]
    return "\n".join(lines) + "\n\n" + body
