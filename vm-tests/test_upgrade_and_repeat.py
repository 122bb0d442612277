"""The install line again: with a newer release, and after runs that were killed in the middle."""

import itertools
import re
import subprocess
import time

from small_internet import mail, product
from small_internet.shell import WorldError, wait_for

# In setup.log, one line at the beginning of each stage.
STAGE = re.compile(r"stage[:=]?\s+(.+)")


def fill(world, owner):
    """Some mail with flags in some folders; returns the snapshot that must survive."""
    mail.imap(
        world, owner.email, owner.password, owner.hostname,
        r"""
ok(imap.create("Kept"))
for n in range(20):
    flags = [r"(\Seen)", r"(\Flagged \Seen)", r"(\Answered)", "()"][n % 4]
    ok(imap.append(["INBOX", "Kept", "Archive"][n % 3], flags, None, b"Subject: kept %d\r\n\r\nbody %d\r\n" % (n, n)))
ok(imap.select("INBOX"))
first = ok(imap.uid("SEARCH", "SUBJECT", "kept"))[0].split()[0].decode()
ok(imap.uid("STORE", first, "+FLAGS", r"(\Deleted)"))
ok(imap.expunge())
""",
    )  # fmt: skip
    return mail.imap_snapshot(world, owner.email, owner.password, owner.hostname)


def test_a_newer_release_keeps_everything(world, mirror, disposable):
    owner = disposable
    before = fill(world, owner)
    owner.add_user("jane@example.com")
    answers = owner.box.read("/etc/mailstead/box.yaml")
    ds = owner.run("dns", "ds", owner.domain).out
    newer = product.higher(product.version())
    mirror.publish(newer)
    owner.install("--yes")
    assert owner.box.run("readlink", "-f", product.MAILSTEAD).out.strip().endswith(f"/releases/{newer}/mailstead")
    owner.wait_for_services()
    for service in product.SERVICES:
        pid = owner.box.run("systemctl", "show", "-p", "MainPID", "--value", service).out.strip()
        assert f"/releases/{newer}/" in owner.box.run("readlink", f"/proc/{pid}/exe").out, service
    assert owner.box.read("/etc/mailstead/box.yaml") == answers
    assert owner.run("dns", "ds", owner.domain).out == ds
    assert mail.imap_snapshot(world, owner.email, owner.password, owner.hostname) == before
    assert "jane@example.com" in owner.run("user", "list").out
    assert "Nothing to do." in owner.run("plan").out
    title = mail.subject("after the upgrade")
    mail.submit(world, owner.email, owner.password, "friend@peer.org", title, server=owner.hostname)
    mail.wait_for_peer_mail(world, title)


def stages(box):
    """The stages that setup.log names so far."""
    log = box.path("/var/log/mailstead/setup.log")
    try:
        return [match.group(1).strip() for match in map(STAGE.search, log.read_text().splitlines()) if match]
    except FileNotFoundError:
        return []


def run_until(owner, done, delay=0.3):
    """Runs the set-up; kills it with all it has started as the first stage that is not in `done` begins (`delay` seconds
    into the packages).

    Returns that stage, or None when the run came to its end before.
    """
    box = owner.box
    leader = box.leader()
    begun = len(stages(box))
    box.write("/root/go", f"exec {product.INSTALL} | bash -s -- {' '.join(owner.answers())}\n")
    environment = [f"--setenv={key}={value}" for key, value in owner.environment().items()]
    box.run("systemd-run", "-q", "--unit=killed-run", *environment, "bash", "/root/go")

    def finished():
        # No answer, as while systemd is loaded anew, tells nothing.
        return box.run("systemctl", "show", "--property=ActiveState", "--value", "killed-run", check=False).out.strip() in ("inactive", "failed")

    looks = itertools.count(1)

    def new_stage():
        # Asking systemd takes longer than a whole stage, so it is asked now and then.
        ended = next(looks) % 100 == 0 and finished()
        fresh = [stage for stage in stages(box)[begun:] if stage not in done]
        if fresh:
            return fresh[0]
        return "(ended)" if ended else ""

    stage = wait_for(new_stage, 300, "the next stage", interval=0.005)
    if stage == "(ended)":
        if box.run("systemctl", "is-failed", "killed-run", check=False).ok:
            raise WorldError(box.run("journalctl", "--unit=killed-run", "--lines=40", "--output=cat").out)
        return None
    if stage == "packages":
        time.sleep(delay)
    # From outside of the box, which takes milliseconds: on an idle machine most stages are over in a tenth of a second.
    # Only in this box: other worlds on the machine may be setting boxes up as well.
    here = ["--ns", str(leader), "--nslist", "pid"]
    subprocess.run(["pkill", "--signal", "KILL", *here, "--full", "/mailstead setup"], check=False)
    box.run("systemctl", "kill", "--signal=SIGKILL", "killed-run", check=False)
    wait_for(finished, 20, "the killed run to end")
    box.run("systemctl", "reset-failed", "killed-run", check=False)
    return stage


def managed(owner):
    """What set-up is to arrive at: the paths it manages, its units' states, the firewall's rules."""
    return owner.box.run(
        "sh", "-c",
        "find /etc/mailstead /etc/systemd/system /etc/nginx /etc/nsd /etc/unbound /etc/nftables* /opt/mailstead /usr/sbin/policy* /usr/sbin/.policy* "
        "\\( -type f -o -type l \\) -printf '%p %m %u:%g\\n' | sort; nft list ruleset | grep -v counter; "
        "systemctl list-unit-files 'mailstead*' --no-legend | sort",
    ).out  # fmt: skip


def test_a_run_killed_in_the_middle_of_each_stage_ends_in_the_same_place(world, mirror, signer, disposable):
    wanted = managed(disposable)
    owner = product.Owner(world, world.box("box"))
    owner.put_key(signer)
    owner.at_the_provider()
    done = []
    while (stage := run_until(owner, done)) is not None:
        done.append(stage)
        if len(done) > 40:
            raise WorldError(f"no end to the stages: {done}")
    assert len(done) >= 6, done
    screen = owner.install().out
    owner.wait_for_services()
    assert managed(owner) == wanted
    assert "Nothing to do." in owner.run("plan").out
    # The password of the first account may have been shown by a run that was killed: a new one is given out.
    password = owner.run("user", "password", owner.email).out
    owner.password = re.search(r"Password:\s+(\S+)", password + screen).group(1)
    owner.enter_ds()
    title = mail.subject("after all")
    outcome, said = mail.peer_outcome(world, mail.peer_sends(world, owner.email, title))
    assert outcome == "sent", said
    mail.wait_for_mail(world, owner.email, owner.password, owner.hostname, title)
