"""Nothing that was acknowledged is lost: services killed during a stream of mail, a box lost and restored."""

import json
import re

from small_internet import mail, product
from small_internet.shell import WorldError, wait_for

from test_upgrade_and_repeat import fill

# Ten connections; prints the ids of the messages whose end got a 250.
STREAM = r"""
import json, smtplib, sys, threading, time, uuid
job = json.load(sys.stdin)
kept, refused, lock = [], [], threading.Lock()
end = time.monotonic() + job["seconds"]
def work():
    while time.monotonic() < end:
        try:
            with smtplib.SMTP(job["server"], 25, timeout=20) as smtp:
                smtp.ehlo("laptop.hosting.net")
                for _ in range(5):
                    name = uuid.uuid4().hex
                    text = "From: friend@example.org\r\nTo: %s\r\nSubject: stream\r\nMessage-ID: <%s@stream>\r\n\r\n%s\r\n"
                    smtp.sendmail("friend@example.org", [job["to"]], text % (job["to"], name, "word " * 700))
                    with lock: kept.append(name)
                    if time.monotonic() > end: break
        except Exception as error:
            with lock: refused.append(str(error)[:100])
            time.sleep(0.2)
threads = [threading.Thread(target=work) for _ in range(10)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps({"kept": kept, "refused": refused}))
"""

COUNT = r"""
found = []
for name in folders():
    ok(imap.select('"%s"' % name, readonly=True))
    for part in ok(imap.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")):
        if isinstance(part, tuple):
            found += re.findall(rb"<(\w+)@stream>", part[1])
print(json.dumps([name.decode() for name in found]))
"""


def test_every_acknowledged_message_is_in_the_mailbox_whatever_is_killed(world, disposable):
    owner = disposable
    mail.make_known(world, owner, "friend@example.org")
    world.laptop.write("/root/stream.py", STREAM)
    world.laptop.write(
        "/root/job", json.dumps({"server": owner.hostname, "to": owner.email, "seconds": 14})
    )
    world.laptop.run("nohup python3 /root/stream.py < /root/job > /root/streamed 2>&1 &")
    wait_for(lambda: ":25" in world.laptop.run("ss", "-Htn", "dport", "=", ":25").out, 10, "the stream to begin")
    for role in ("mailbox", "mta", "filter", "directory", "mailbox", "mta"):
        owner.box.run("sleep", "1.2")
        owner.box.run("systemctl", "kill", "--signal=SIGKILL", f"mailstead-{role}.service")
    text = wait_for(lambda: world.laptop.read("/root/streamed"), 60, "the stream to end", interval=0.5)
    streamed = json.loads(text)
    owner.wait_for_services()

    def present():
        return json.loads(mail.imap(world, owner.email, owner.password, owner.hostname, COUNT))

    assert len(streamed["kept"]) > 50, streamed
    assert streamed["refused"], "the kills were not felt at all"
    missing = set(streamed["kept"]) - set(present())

    def none_missing():
        nonlocal missing
        missing = set(streamed["kept"]) - set(present())
        if missing:
            raise WorldError(f"{len(missing)} of {len(streamed['kept'])} are missing")
        return True

    wait_for(none_missing, 30, "every acknowledged message", interval=1)


def test_a_backup_of_one_box_is_restored_on_another(world, mirror, signer, disposable, tmp_path):
    owner = disposable
    before = fill(world, owner)
    jane = owner.add_user("jane@example.com")
    owner.run("alias", "add", "sales@example.com", owner.email)
    ds = owner.run("dns", "ds", owner.domain).out
    said = owner.run("backup", "now").out
    named = re.search(r"(/\S+\.age)\b", said)
    assert named, said
    owner.box.copy_out(named.group(1), tmp_path / "backup.age")
    world.remove("box")

    second = product.Owner(world, world.box("box2"))
    try:
        second.put_key(signer)
        second.box.copy_in(tmp_path / "backup.age", "/root/backup.age", 0o600)
        second.box.write("/root/recovery.key", owner.recovery_key + "\n", 0o600)
        second.at_the_provider()
        second.install("--no-setup")
        program = f"/opt/mailstead/releases/{product.version()}/mailstead"
        restore = ["restore", "/root/backup.age", "--key", "/root/recovery.key"]
        second.box.run(program, *restore, env=second.environment(), timeout=300)
        second.wait_for_services()
        assert second.run("dns", "ds", owner.domain).out == ds
        second.enter_ds()
        assert mail.imap_snapshot(world, owner.email, owner.password, owner.hostname) == before
        mail.mbsync(world, "jane@example.com", jane, owner.hostname)
        assert "sales@example.com" in second.run("alias", "list").out
        title = mail.subject("to the restored box")
        outcome, words = mail.peer_outcome(world, mail.peer_sends(world, "sales@example.com", title))
        assert outcome == "sent", words
        mail.wait_for_mail(world, owner.email, owner.password, owner.hostname, title)
        title = mail.subject("from the restored box")
        mail.submit(world, owner.email, owner.password, "friend@peer.org", title, server=owner.hostname)
        results = " ".join(mail.wait_for_peer_mail(world, title).get_all("authentication-results"))
        assert "dkim=pass" in results and "dmarc=pass" in results
    finally:
        world.remove("box2")
        owner.at_the_provider()
