"""Proofs of the checks of the host: its web server, disk, packages, users."""

import re
from pathlib import Path

from . import mail
from .product import higher, version
from .proofs import ROLES, Proof, said_by_the_kernel, unit
from .shell import wait_for


def _nginx(check, change, seen, **how):
    return Proof(check, f"sed -i '{change}' /etc/nginx/nginx.conf && systemctl reload nginx", seen, "warning", also=("as-planned",),
                 **how or {"mend": True})  # fmt: skip


WEB = [
    _nginx("headers", "/add_header Strict/d", "Strict-Transport-Security: “”"),
    _nginx("settings-thunderbird", "s#location = /mail/config-v1.1.xml#location = /elsewhere#",
           "autoconfig.example.com/mail/config-v1.1.xml: it answers 404"),
    _nginx("settings-outlook", "s#/autodiscover/autodiscover#/autodiscover/elsewhere#", "autodiscover.example.com/.*: it answers 404",
           remedy=("mailstead apply",)),
    _nginx("settings-apple", "s#/setup/profiles/#/setup/elsewhere/#", "box.example.com/setup/profiles/example.com.mobileconfig: it answers 404"),
    Proof("system-resolver", "echo 'nameserver 9.9.9.9' > /etc/resolv.conf", "nameserver 9.9.9.9", "warning", also=("as-planned",), mend=True),
]  # fmt: skip

# --- the mail's own files, and the disk


def _lose_a_file(place):
    """A message of the owner's whose file is gone."""
    title = mail.subject("lost")
    mail.submit(place.world, place.owner.email, place.owner.password, place.owner.email, title, server=place.owner.hostname)
    find = f"grep -rl '{title}' /var/lib/mailstead/mail | grep -E '/(cur|new)/' | head -1"
    place.box.run("rm", wait_for(lambda: place.said(find).strip(), 20, "the message", interval=0.3))


# Five days in which the disk became full, as far as it still is free now.
FILLS = """
python3 - <<'END'
import json, os, time
disk = os.statvfs("/var/lib/mailstead")
free, now = disk.f_bavail * disk.f_frsize, int(time.time()) - 3600
samples = [{"at": now - (4 - step) * 86400, "used_bytes": step * free // 5} for step in range(5)]
open("/var/lib/mailstead/checks/growth.json", "w").write(json.dumps(samples))
END
"""
# A small disk for the backups, on which something else takes all but a few kilobytes.
FULL_BACKUPS = """
there=/var/backups/mailstead; rm -rf /run/kept; cp -a $there /run/kept
mount -t tmpfs -o size=3m tmpfs $there; chown --reference=/run/kept $there; chmod --reference=/run/kept $there
cp -a $(ls -t /run/kept/*.age | head -1) $there/
dd if=/dev/zero of=$there/old.tar bs=4k status=none || true
truncate -s -8k $there/old.tar
"""
SPOILED = """
newest=$(ls -t /var/backups/mailstead/*.age | head -1)
printf spoiled | dd of=$newest bs=1 seek=5000 conv=notrunc status=none
mailstead backup rehearse || true
"""

# A small disk for the logs, on which hardly any more files find room.
MANY_FILES = """
mount -t tmpfs -o size=3g,mode=750,nr_inodes=200 tmpfs /var/log/mailstead
cd /var/log/mailstead; mkdir many; touch $(seq -f many/%g 192)
"""


def _remove_the_files(place, result):
    """Finds them as the remedy says."""
    command = re.search(r"(du -x --inodes .*)", result["remedy"]).group(1)
    assert "/var/log/mailstead/many" in place.said(command), command
    place.do("rm -r /var/log/mailstead/many")


# The root is a disk of its own, with little room; all else lies elsewhere. The root that all boxes here share is the
# machine's, so this one is seen from within.
SMALL_ROOT = """
mkdir /small && mount -t tmpfs -o size=600m,mode=755 tmpfs /small
for it in /*; do
    if [ $it = /small ]; then continue
    elif [ -L $it ]; then cp -P $it /small/
    elif [ -d $it ]; then mkdir /small$it; mount --rbind $it /small$it; mount --make-rprivate /small$it; fi
done
mkdir /small/runaway; fallocate -l 200M /small/runaway/file
"""


def _a_small_root(place):
    place.do(SMALL_ROOT)
    place.owner.within = ("env", "SYSTEMD_IGNORE_CHROOT=1", "chroot", "/small")


def _remove_what_is_large(place, result):
    """Looks at what is large as the remedy says, and removes it."""
    command = re.search(r"(du -xh --max-depth=2 /.*)", result["remedy"]).group(1)
    assert "/runaway" in place.box.run("chroot", "/small", "bash", "-c", command).out.split(), command
    place.do("rm -r /small/runaway")


def _the_old_root(place):
    place.owner.within = ()
    place.do("umount --lazy /small && rmdir /small")


ON_DISK = [
    Proof("space-boot", _a_small_root, r"/: [34]\d\d MB free", "warning", by_hand=_remove_what_is_large, after=_the_old_root),
    Proof("disk-inodes", MANY_FILES, "/var/log/mailstead: [0-4] % free", by_hand=_remove_the_files, after="umount /var/log/mailstead"),
    Proof("mail-store", _lose_a_file, "owner@example.com: .*", remedy=("mailstead fsck owner@example.com",)),
    Proof("mail-owners", "chown root /var/lib/mailstead/mail/example.com/owner/Maildir/tmp", "owner/Maildir/tmp: it belongs to somebody else",
          "warning", remedy=("chown -R ms-mailbox: /var/lib/mailstead/mail",)),
    Proof("disk-writable", "mount -t tmpfs -o ro,size=3g,mode=750 tmpfs /var/log/mailstead", "/var/log/mailstead: it can be read only",
          remedy=("mount -o remount,rw /var/log/mailstead",), after="umount /var/log/mailstead"),
    Proof("disk-forecast", FILLS, r"is full in \d+ days", "warning", remedy=("mailstead user list",),
          gone="rm /var/lib/mailstead/checks/growth.json"),
    Proof("backup-room", FULL_BACKUPS, r"\d+ KB free, the newest has", "warning", perhaps=("backup-size",),
          by_hand=lambda place, result: (re.search("move old ones from /var/backups/mailstead to another", result["remedy"]).group(0),
                                         place.do("rm /var/backups/mailstead/old.tar")),
          after="umount /var/backups/mailstead"),
    Proof("backup-rehearsal", SPOILED, "mailstead-.*age", remedy=("mailstead backup now", "mailstead backup rehearse"), perhaps=("backup-size",)),
    unit("unit-backup-rehearsal", "mailstead-backup-rehearsal.timer", ("as-planned",), "warning"),
]  # fmt: skip

# --- a service that keeps growing

CHECKS = Path(__file__).parents[2] / "checks"
# A process of the service's own that takes more and more.
GROWS = """
setsid python3 -c 'import time; held = b"x" * (AMOUNT << 20); print(flush=True); time.sleep(600)' > /run/grows 2>/dev/null < /dev/null &
until [ -s /run/grows ]; do sleep 0.1; done; rm /run/grows
group=$(systemctl show --property ControlGroup --value mailstead-ROLE)
for root in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [ -e $root$group/cgroup.procs ]; then echo $! > $root$group/cgroup.procs; fi
done
"""


def _grows(role):
    most = int(re.search(r"most_megabytes: (\d+)", (CHECKS / f"memory-{role}.yaml").read_text()).group(1))
    breaks = GROWS.replace("AMOUNT", str(most)).replace("ROLE", role)
    return Proof(f"memory-{role}", breaks, rf"mailstead-{role}.service: \d+ MB", "warning",
                 remedy=(f"systemctl restart mailstead-{role}",))  # fmt: skip


GROWING = [_grows(role) for role in ROLES]

# --- packages, programs, people


def _a_newer_release(place):
    newer = higher(version())
    place.world.host("releases").run("bash", "-c", f"cd /srv/www/releases; cp latest /run/latest.kept; echo {newer} > latest; mkdir -p {newer}; "
                             f"echo 'Mail is faster.' > {newer}/changes")  # fmt: skip


def _upgrade(place, result):
    """The line is the one of the README; that it upgrades is what test_upgrade_and_repeat.py shows."""
    assert "Mail is faster." in result["remedy"] and "curl -fsSL https://mailstead.org/install.sh | sudo bash" in result["remedy"], result
    place.world.host("releases").run("bash", "-c", f"cd /srv/www/releases; mv /run/latest.kept latest; rm -r {higher(version())}")


def _remove_the_setting(place, result):
    """Finds it as the remedy says."""
    lines = place.said(re.search(r"(grep -r 'APT.*)", result["remedy"]).group(1)).splitlines()
    place.box.run("rm", next(line.split(":")[0] for line in lines if '"0"' in line))


HALF_CONFIGURED = (
    "sed -i '/^Package: hostname$/,/^$/s/^Status: install ok installed/Status: install ok half-configured/' /var/lib/dpkg/status"
)
A_LITTLE_MEMORY = "MemTotal: 1000000 kB\\nMemAvailable: 900000 kB\\nSwapTotal: 1024000 kB\\nSwapFree: 102400 kB\\n"

SYSTEM = [
    Proof("release", _a_newer_release, f"this is {version()}, {higher(version())} is out", "notice", by_hand=_upgrade),
    Proof("packages-held", "apt-mark hold nsd", "nsd: kept at its version", "notice", remedy=("apt-mark unhold nsd",)),
    Proof("packages-whole", HALF_CONFIGURED, "hostname: not installed whole", "warning", remedy=("dpkg --configure -a",)),
    Proof("updates-automatic", "echo 'APT::Periodic::Unattended-Upgrade \"0\";' > /etc/apt/apt.conf.d/99-by-hand", "apt is told not to", "warning",
          by_hand=_remove_the_setting),
    Proof("programs-current", "cd $(readlink -f /opt/mailstead/current); cp -p mailstead mailstead.new && mv mailstead.new mailstead",
          "mailstead-mta: it still runs a program that was replaced", "warning",
          remedy=tuple(f"systemctl restart mailstead-{role}" for role in ROLES)),
    Proof("empty-passwords", "useradd guest && passwd -d guest", "guest: its password is empty", remedy=("passwd -l guest",), after="userdel guest"),
    Proof("other-roots", "useradd -o -u 0 -g 0 -M toor", "toor: it has root's number",
          remedy=("sed -i '/^toor:/d' /etc/passwd /etc/shadow",), after="rm -f /etc/.pwd.lock; groupdel toor 2>/dev/null || true"),
    said_by_the_kernel("swap", "/proc/meminfo", A_LITTLE_MEMORY, "900 MB used of 1000 MB", "ps -eo rss,comm --sort=-rss | head"),
]  # fmt: skip

# A machine whose clock is its own, and whose time service does not run.
NO_TIME = """
mv /run/systemd/container /run/container.kept
printf '#!/bin/sh\\necho NTP=no; echo NTPSynchronized=no\\n' > /run/timedatectl; chmod 755 /run/timedatectl
mount --bind /run/timedatectl /usr/bin/timedatectl
"""


def _switch_it_on(place, result):
    assert "timedatectl set-ntp true" in result["remedy"], result["remedy"]
    place.do("umount /usr/bin/timedatectl; mv /run/container.kept /run/systemd/container")


TIME = [Proof("clock", NO_TIME, "no time service runs", "warning", by_hand=_switch_it_on)]

ALL = [*WEB, *ON_DISK, *GROWING, *SYSTEM, *TIME]
