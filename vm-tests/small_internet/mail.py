"""People and servers who write to a box and read from it: the peer's Postfix, and a laptop's programs."""

import email
import email.policy
import json
import re
import shlex
import uuid

from .settings import ISSUED_ROOT_FILE
from .shell import WorldError, wait_for

# GTUBE: the text that every spam filter is to recognise, as EICAR is for virus scanners.
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


def parse(data):
    return email.message_from_bytes(data, policy=email.policy.default)


def subject(words):
    """A subject that no other test uses."""
    return f"{words} {uuid.uuid4().hex[:10]}"


# --- the peer


def peer_sends(world, to, title, body="Hello.\n", sender="friend@peer.org", headers=(), raw=None):
    """Hands a message to the peer's Postfix, which signs it for peer.org and delivers it by MX. Returns its id."""
    identity = f"{uuid.uuid4().hex}@mail.peer.org"
    head = [f"From: {sender}", f"To: {to}", f"Subject: {title}", f"Message-ID: <{identity}>", *headers]
    message = raw if raw is not None else ("\n".join(head) + "\n\n" + body)
    world.peer.run("sendmail", "-f", sender, "--", to, input=message)
    return identity


def peer_log(world):
    return world.peer.read("/var/log/postfix.log")


def peer_outcome(world, identity, timeout=60):
    """Waits for what became of a message that the peer sent: ("sent" or "bounced", what the other side said)."""

    def look():
        log = peer_log(world)
        queued = re.search(rf"postfix/cleanup\[\d+\]: (\w+): message-id=<{re.escape(identity)}>", log)
        if not queued:
            return None
        pattern = rf"{queued.group(1)}: to=<.*status=(sent|bounced|deferred) (.*)"
        outcomes = re.findall(pattern, log)
        if outcomes and outcomes[-1][0] != "deferred":
            return outcomes[-1]
        raise WorldError(f"so far: {outcomes[-3:]}")

    return wait_for(look, timeout, f"the peer to be rid of {identity}", interval=0.3)


def peer_mailbox(world, user="friend"):
    """All messages in a mailbox of the peer."""
    folder = world.peer.path(f"/var/mail/peer/{user}")
    files = sorted(file for part in ("new", "cur") for file in (folder / part).glob("*"))
    return [parse(file.read_bytes()) for file in files]


def wait_for_peer_mail(world, title, user="friend", timeout=60):
    """The message with that subject, once it has arrived at the peer."""

    def look():
        return next((message for message in peer_mailbox(world, user) if message["subject"] == title), None)

    try:
        return wait_for(look, timeout, f"“{title}” to arrive at the peer", interval=0.3)
    except WorldError as error:
        raise WorldError(f"{error}\n{peer_log(world)[-3000:]}") from None


# --- the laptop


def swaks(world, *arguments, check=True, timeout=60):
    """Runs swaks on the laptop; the Result's text is the whole session."""
    return world.laptop.run("swaks", "--timeout", "20", *arguments, check=check, timeout=timeout)


def submit(world, account, password, to, title, *extra, server, port=465, sender=None, body="Hello.", check=True):
    """Sends one message as an account's mail program does, with the certificate verified."""
    tls = ["--tls-on-connect"] if port == 465 else ["--tls"]
    return swaks(
        world, "--server", server, "--port", str(port), *tls, "--tls-verify", "--tls-ca-path", ISSUED_ROOT_FILE,
        "--auth", "PLAIN", "--auth-user", account, "--auth-password", password,
        "--from", sender or account, "--to", to, "--header", f"Subject: {title}", "--body", body, *extra, check=check,
    )  # fmt: skip


# Posts letters one after the other, each conversation for as long as it lasts; prints the ids of those that got a 250.
POST = """\
import json, smtplib, ssl, sys, time
job = json.load(sys.stdin)
trust = ssl.create_default_context(cafile=job["ca"])
def converse():
    if "password" not in job:
        return smtplib.SMTP(job["server"], 25, timeout=60)
    smtp = smtplib.SMTP_SSL(job["server"], 465, context=trust, timeout=60)
    smtp.login(job["sender"], job["password"])
    return smtp
smtp, acknowledged, troubles = None, [], []
for letter in job["letters"]:
    try:
        smtp = smtp or converse()
        smtp.sendmail(job["sender"], letter["to"], letter["text"].encode("latin-1"), ["BODY=8BITMIME"])
        acknowledged.append(letter["id"])
    except (smtplib.SMTPException, OSError) as error:
        troubles.append(repr(error)[:200])
        smtp = None
        time.sleep(0.2)
    time.sleep(job["pause"])
print(json.dumps([acknowledged, troubles]))
"""


def letter(sender, to, title, body="Hello.\n"):
    """A message for `post`, with an identity that no other has."""
    identity = f"{uuid.uuid4().hex}@laptop.hosting.net"
    head = f"From: {sender}\r\nTo: {to}\r\nSubject: {title}\r\nMessage-ID: <{identity}>\r\n"
    return {"to": to, "id": identity, "text": head + "\r\n" + body.replace("\n", "\r\n")}


def post(host, sender, letters, server, password=None, pause=0, timeout=180):
    """Posts letters from a host: over 465 with a password, as a mail program, else to port 25. Where a conversation
    breaks, its letter is given up and the next goes in another. Returns the ids that were acknowledged, and what broke."""
    job = {"server": server, "sender": sender, "ca": ISSUED_ROOT_FILE, "letters": letters, "pause": pause}
    job |= {"password": password} if password else {}
    return json.loads(host.run("python3", "-c", POST, input=json.dumps(job), timeout=timeout).out)


def post_all(world, owner, letters):
    """Posts an owner's letters from the laptop; all are taken."""
    acknowledged, troubles = post(world.laptop, owner.email, letters, owner.hostname, owner.password)
    if len(acknowledged) < len(letters):
        raise WorldError(f"only {len(acknowledged)} of {len(letters)} letters were taken: {troubles}")


def wait_for_report(world, owner, address, timeout=40):
    """The delivery report in the owner's inbox that is about that address."""

    def look():
        for message in mbsync(world, owner.email, owner.password, owner.hostname).get("INBOX", []):
            if message.get_content_type() == "multipart/report" and address in message.as_string():
                return message
        return None

    return wait_for(look, timeout, f"the report about {address}", interval=0.5)


def make_known(world, owner, address):
    """Has the owner write to somebody, whose mail is then not asked to come again, odd as it may look."""
    submit(world, owner.email, owner.password, address, subject("glad to hear from you"), server=owner.hostname)


MBSYNCRC = """\
IMAPAccount box
Host {server}
Port 993
User {account}
PassCmd "cat {folder}/password"
TLSType IMAPS
CertificateFile {ca}

IMAPStore far
Account box

MaildirStore near
Path {folder}/mail/
Inbox {folder}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Sync Pull
SyncState *
"""


def mbsync(world, account, password, server):
    """Fetches all mail of an account with mbsync; returns {folder: [message]}."""
    laptop = world.laptop
    folder = f"/root/mbsync/{account}"
    laptop.run(f"rm -rf {shlex.quote(folder)} && mkdir -p {shlex.quote(folder)}/mail")
    laptop.write(f"{folder}/password", password, 0o600)
    laptop.write(f"{folder}/rc", MBSYNCRC.format(server=server, account=account, folder=folder, ca=ISSUED_ROOT_FILE))
    laptop.run("mbsync", "-c", f"{folder}/rc", "-q", "all")
    mail = laptop.path(f"{folder}/mail")
    found = {}
    for part in (part for name in ("new", "cur") for part in mail.glob(f"**/{name}")):
        name = str(part.parent.relative_to(mail))
        found.setdefault(name, []).extend(parse(file.read_bytes()) for file in sorted(part.iterdir()))
    return found


def wait_for_mail(world, account, password, server, title, folder="INBOX", timeout=30):
    """The message with that subject, once mbsync finds it in that folder."""

    def look():
        mail = mbsync(world, account, password, server)
        for message in mail.get(folder, []):
            if message["subject"] == title:
                return message
        raise WorldError("there is: " + str({name: [str(m["subject"]) for m in some] for name, some in mail.items()}))

    return wait_for(look, timeout, f"“{title}” in {folder} of {account}", interval=0.5)


IMAP_HEAD = """\
import imaplib, json, ssl, sys, hashlib, re
job = json.load(sys.stdin)
trust = ssl.create_default_context(cafile=job["ca"])
imap = imaplib.IMAP4_SSL(job["server"], 993, ssl_context=trust, timeout=30)
imap.login(job["account"], job["password"])
def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]
def folders():
    names = []
    for line in ok(imap.list()):
        names.append(re.search(rb'(?:"/"|"\\.") (.*)$', line).group(1).decode().strip('"'))
    return sorted(names)
"""

SNAPSHOT = """\
found = {}
for name in folders():
    ok(imap.select('"%s"' % name, readonly=True))
    valid = imap.response("UIDVALIDITY")[1][0].decode()
    messages = []
    data = ok(imap.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])"))
    for head, body in (part for part in data if isinstance(part, tuple)):
        head = head.decode()
        flags = re.search(r"FLAGS \\(([^)]*)\\)", head).group(1).split()
        messages.append([int(re.search(r"UID (\\d+)", head).group(1)), sorted(set(flags) - {"\\\\Recent"}),
            re.search(r'INTERNALDATE "([^"]*)"', head).group(1), hashlib.sha256(body).hexdigest()])
    found[name] = {"uidvalidity": valid, "messages": sorted(messages)}
print(json.dumps(found))
"""


def imap(world, account, password, server, script):
    """Runs Python on the laptop with `imap` logged in (imaplib), `ok(answer)` and `folders()`; returns its output."""
    job = {"server": server, "account": account, "password": password, "ca": ISSUED_ROOT_FILE}
    return world.laptop.run("python3", "-c", IMAP_HEAD + script, input=json.dumps(job)).out


def imap_snapshot(world, account, password, server):
    """{folder: {uidvalidity, messages: [uid, flags, date, hash of the content]}}: what must survive everything."""
    return json.loads(imap(world, account, password, server, SNAPSHOT))


# --- TLS


def starttls_certificate(world, server, port=25):
    """Verifies a server's certificate after STARTTLS (or on connect) with openssl, name included; returns openssl's words."""
    how = {25: ["-starttls", "smtp"], 587: ["-starttls", "smtp"]}.get(port, [])
    return world.laptop.run(
        "openssl", "s_client", "-connect", f"{server}:{port}", "-servername", server, *how,
        "-CAfile", ISSUED_ROOT_FILE, "-verify_return_error", "-verify_hostname", server, "-brief",
        input="QUIT\r\n", timeout=30,
    ).text  # fmt: skip
