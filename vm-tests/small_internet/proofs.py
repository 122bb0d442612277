"""How each status check is proved on a box: what breaks the one thing, what the check then says, how its remedy is followed.

A proof is data; `Place` is the box and the world around it, and does what proofs say. The rules that every proof keeps:

- Only the checks that it names change: its own and those of `also`, which see the same fault from elsewhere.
- The remedy is followed as it is written: each command that is run stands in the text that was shown, letter by letter; what
  is entered at the registrar or the provider is read out of that text too.
- `gone` is what ends the cause before the remedy can help: a service that fell over for a fault that was put right.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Callable

from . import mail, network
from .shell import WorldError, wait_for

# These see the machine that all boxes share, and so whatever else it is busy with.
OF_THE_MACHINE = {"load", "memory", "pressure-cpu", "pressure-io", "pressure-memory", "open-files"}


@dataclass(frozen=True)
class Proof:
    """One check, broken and mended. `breaks`, `gone` and `after` are shell commands on the box, or called with the place."""

    check: str
    breaks: str | Callable
    seen: str  # a pattern found in what the check says it saw
    state: str = "failed"
    also: tuple = ()
    perhaps: tuple = ()  # like `also`, but not each time
    remedy: tuple = ()  # commands of the shown remedy, in order
    mend: bool = False  # `mailstead status --mend` instead
    fails: tuple = ()  # those of them that are to fail, since they only show what is wrong
    by_hand: Callable | None = None  # what the remedy asks of others; called with the place and the result
    gone: str | Callable = ""
    after: str | Callable = ""  # tidies up what belongs to the test itself
    unsigned: bool = False  # in a world where the domain has no DS, so that its zone can be changed by hand
    patience: int = field(default=20)


class Place:
    """A box that is in order, and everybody who can change something about it."""

    def __init__(self, world, owner, neighbour):
        self.world, self.owner, self.box = world, owner, owner.box
        self.neighbour = neighbour  # gives the owner of a second box, who moves in when first asked for
        self.ds = []
        self.whole = {}
        self.is_unsigned = False
        self.zone_edit = None  # what the proof at hand changes in the zone's file

    # --- looking

    def look(self, *only):
        """The checks by name, asked anew; all of them, or these."""
        groups = [word for name in only for word in ("--group", name)]
        said = self.owner.run("status", "--json", "--fresh", *groups, check=False)
        try:
            return {check["id"]: check for check in json.loads(said.out)}
        except ValueError:
            raise WorldError(f"no checks in: {said}") from None

    def changed(self, found, check=""):
        """The checks that are not as they were when the box was whole."""
        return {
            name for name, it in found.items()
            if (name == check or name not in OF_THE_MACHINE) and it["state"] != self.whole[name]
            and not {it["state"], self.whole[name]} <= {"ok", "skipped"}
        }  # fmt: skip

    def do(self, what):
        if callable(what):
            what(self)
        elif what:
            self.box.run("bash", "-c", what)

    def said(self, command):
        """What a command on the box prints."""
        return self.box.run("bash", "-c", command).out

    # --- the whole box

    def settle(self):
        """Follows what is left on the first status page, and learns what a box in order looks like."""
        self.ds = self.owner.enter_ds()
        self.box.run(KEYS_ONLY)
        self.do(QUIET_TIMERS)
        self.owner.run("apply")
        self.owner.second_factor()
        self.forget()

        def content():
            found = self.look()
            self.whole = {name: check["state"] for name, check in found.items()}
            wrong = [
                f"{name}: {check['state']}: {check['seen']}" for name, check in found.items()
                if check["state"] not in ("ok", "skipped") and name not in OF_THE_MACHINE
            ]  # fmt: skip
            if wrong:
                raise WorldError("\n".join(wrong))
            return True

        wait_for(content, 40, "a new box to be in order", interval=1)

    def forget(self):
        """Time goes by: what the box's resolver remembers has passed."""
        self.box.run(RESOLVE_ANEW)

    def be_unsigned(self, wanted):
        """Has the registrar take the DS away, or enter it again."""
        if wanted == self.is_unsigned:
            return
        self.owner._delegate(ds=() if wanted else self.ds)
        self.forget()
        expected = {"ds": "warning", "dnssec": "warning"} if wanted else {"ds": "ok", "dnssec": "ok"}

        def seen():
            found = {name: check["state"] for name, check in self.look(*expected).items()}
            return found == expected

        wait_for(seen, 30, "the resolver to see what the registrar entered", interval=0.5)
        self.whole |= expected
        self.is_unsigned = wanted

    # --- a proof

    def prove(self, proof):
        """Breaks, sees, mends, sees. A failure says which of these did not come out."""
        self.be_unsigned(proof.unsigned)
        if "cert" in proof.check:
            self.box.run("bash", "-c", A_WEEK_PASSES)
        self.zone_edit = None
        self.do(proof.breaks)
        result = self._see_it_broken(proof)
        self.do(proof.gone)
        self._follow(proof, result)
        self._see_it_mended(proof)

    def _see_it_broken(self, proof):
        expected = {proof.check, *proof.also}
        last = {}

        def look():
            found = self.look()
            last.update(found)
            changed = self.changed(found, proof.check) - set(proof.perhaps)
            if not changed and self.zone_edit:
                # The box looks by itself now and then, and writes a zone anew that was changed by hand.
                self.do(self.zone_edit)
            if changed != expected and not (proof.also == EVERYTHING and proof.check in changed):
                told = "\n".join(f"{name}: {found[name]['state']}: {found[name]['seen']}" for name in sorted(changed))
                raise WorldError(
                    f"beside what was expected: {sorted(changed - expected)}; not seen: {sorted(expected - changed)}\n{told}"
                )
            return found

        result = wait_for(look, proof.patience, f"{proof.check} to see the fault, alone", interval=0.3)[proof.check]
        assert result["state"] == proof.state, result
        assert re.search(proof.seen, result["seen"]), result
        assert result["wanted"] and result["why"] and result["remedy"], result
        return result

    def _follow(self, proof, result):
        assert proof.mend or proof.remedy or proof.by_hand, "a proof follows the remedy"
        for command in proof.remedy:
            assert command in result["remedy"], f"“{command}” is not in the remedy:\n{result['remedy']}"
            self.box.run("bash", "-c", f"export PATH=/usr/local/bin:$PATH; {command}", env=self.owner.environment(),
                         timeout=120, check=command not in proof.fails)  # fmt: skip
        if proof.mend:
            assert result["mend"], f"{proof.check} does not say how the box mends it"
            said = self.owner.run("status", "--mend", proof.check, check=False, timeout=120)
            assert result["mend"] in said.out, said
        if proof.by_hand:
            proof.by_hand(self, result)

    def _see_it_mended(self, proof):
        self._wait_until_whole(proof, [proof.check])
        self.do(proof.after)
        if proof.also == EVERYTHING:
            self._wait_until_whole(proof, [])
        elif proof.also or proof.perhaps:
            self._wait_until_whole(proof, [*proof.also, *proof.perhaps])

    def _wait_until_whole(self, proof, names):
        def look():
            found = self.look(*names)
            left = self.changed(found, proof.check)
            if left:
                raise WorldError("\n".join(f"{name}: {found[name]['state']}: {found[name]['seen']}" for name in left))
            return True

        wait_for(look, proof.patience, f"{' '.join(names)} to pass again", interval=0.3)

    def give_password_back(self):
        """A remedy gave the owner another password; the next proofs know the first."""
        self.do(f"echo {self.owner.password} | mailstead user password {self.owner.email} --password-file -")

    # --- at the registrar and the provider

    def delegate(self, ns=None, glue=None, ds=None):
        servers = [f"ns{n}.{self.owner.hostname}" for n in (1, 2)]
        ours = [f"{name}={address}" for name in servers for address in (self.box.ipv4, self.box.ipv6)]
        self.world.names.delegate(self.owner.domain, ns or servers, glue or ours, self.ds if ds is None else ds)
        self.forget()


# One box asks its authority for a few certificates a week, which are fewer than the proofs have issued.
A_WEEK_PASSES = r"""
python3 - <<'END'
import json, pathlib
file = pathlib.Path("/var/lib/mailstead/certs/ledger.json")
file.write_text(json.dumps(json.loads(file.read_text()) | {"issued": [], "orders": []}))
END
"""
# systemd would refuse to start it so often.
RESOLVE_ANEW = "systemctl reset-failed unbound; systemctl restart unbound"
# What the box does by itself now and then puts a fault right, or makes an archive, in the middle of a proof: the timers
# run on, and next elapse after the tests.
QUIET_TIMERS = """
for timer in certs dns-sign backup backup-rehearsal; do
    mkdir -p /run/systemd/system/mailstead-$timer.timer.d
    printf '[Timer]\\nOnCalendar=\\nOnCalendar=*-*-* %s\\nRandomizedDelaySec=0\\nPersistent=no\\n' "$(date -d '12 hours' +%H:%M:00)" \\
        > /run/systemd/system/mailstead-$timer.timer.d/quiet.conf
done
systemctl daemon-reload
systemctl restart mailstead-certs.timer mailstead-dns-sign.timer mailstead-backup.timer mailstead-backup-rehearsal.timer
"""
EVERYTHING = ("everything",)  # stands for all other checks: nothing can be told without the box's own answers
KEYS_ONLY = (
    'printf "PasswordAuthentication no\\nKbdInteractiveAuthentication no\\n" > /etc/ssh/sshd_config.d/00-keys-only.conf'
    " && sshd -t && systemctl reload ssh"
)


# --- the services

AWAY = "does not answer|No such file|refused"
# What cannot be told while a service is away that others lean on.
ASKS_DNS = ("dkim", "dmarc", "dnssec", "ds", "hostname-address", "mta-sts", "mx", "name-servers", "other-records", "spf",
            "tls-rpt")  # fmt: skip
ASKS_FOR_RECORDS = ("name-server", "certificate-names", "zone-signatures", "zone-denial", "zone-recursion", "zone-transfer", "caa",
                    "key-rollover", "dkim-age", "dynamic-names", "secondaries")  # fmt: skip
ASKS_THE_ZONES = (*ASKS_DNS, *ASKS_FOR_RECORDS, "as-planned")
ASKS_THE_MTA = ("port-smtp", "port-submission", "port-submissions", "postmaster", "relay-closed", "queue", "brakes",
                "held-posts", "tlsa", "certificate-everywhere", "as-planned")  # fmt: skip
ASKS_THE_MAILBOX = ("port-imaps", "port-pop3s", "port-managesieve", "quotas", "certificate-everywhere", "as-planned")
ASKS_NGINX = ("port-http", "port-https", "mta-sts-policy", "certificate-trusted", "certificate-days", "certificate-names",
              "certificate-everywhere", "settings-thunderbird", "settings-outlook", "settings-apple", "as-planned")  # fmt: skip
ASKS_THE_DIRECTORY = (*ASKS_THE_ZONES, "service-dns", "service-mailbox", "accounts", "second-factor", "aliases", "lists", "quotas",
                      "postmaster", "relay-closed", "mta-sts-policy", "blocklist-domain", "backup-mx", "relays", "alias-targets",
                      "spf-lookups", "own-mail-authenticated", "settings-thunderbird", "settings-outlook", "settings-apple",
                      "round-trip")  # fmt: skip
ASKS_THE_RESOLVER = (*ASKS_DNS, "resolver", "mta-sts-policy", "tlsa", "ptr-ipv4", "ptr-ipv6", "blocklist-ipv4", "blocklist-ipv6",
                     "blocklist-domain", "outbound-25", "outbound-ipv6", "own-address-ipv4", "own-address-ipv6", "spf-lookups",
                     "tlsa-clients", "certificate-authority", "settings-thunderbird", "settings-outlook", "settings-apple",
                     "round-trip", "as-planned")  # fmt: skip


def joined(names, *more, less=()):
    return tuple(name for name in (*names, *more) if name not in less)


def stopped(check, role, also, **how):
    return Proof(check, f"systemctl stop mailstead-{role}", how.pop("seen", AWAY), also=also, **how)


SERVICES = [
    stopped("service-directory", "directory", joined(ASKS_THE_DIRECTORY, less=("dynamic-names", "secondaries")), remedy=("systemctl restart mailstead-directory",)),
    stopped("service-mailbox", "mailbox", ASKS_THE_MAILBOX, mend=True),
    stopped("service-mta", "mta", ASKS_THE_MTA, remedy=("systemctl restart mailstead-mta",)),
    stopped("service-filter", "filter", joined(ASKS_THE_ZONES, "service-dns", "round-trip", "filter-samples", less=("dynamic-names", "secondaries")), mend=True),
    stopped("service-dns", "dns", ASKS_THE_ZONES, remedy=("systemctl restart mailstead-dns",)),
    stopped("service-web", "web", ("as-planned", "port-https", "settings-thunderbird", "settings-outlook"), mend=True,
             state="warning"),
    Proof("resolver", "systemctl stop unbound", "127.0.0.1:53.* does not answer", mend=True,
          also=joined(ASKS_THE_RESOLVER, "unit-unbound", less=("resolver",))),
    Proof("name-server", "systemctl stop nsd", "TCP to 45.90.101.10: .*refused", mend=True, also=("unit-nsd", "as-planned"),
          perhaps=("outbound-25",)),  # the peer, which plays a large provider here, asks for our name before it greets
    Proof("configuration", "echo 'colour: red' >> /etc/mailstead/box.yaml", "colour", also=EVERYTHING, by_hand=lambda place, result: (
        place.do("sed -i '/^colour/d' /etc/mailstead/box.yaml"),
        place.owner.run(*re.search("mailstead (apply)", result["remedy"]).groups()))),
]  # fmt: skip

# --- the ports

PORTS = [
    stopped("port-imaps", "mailbox", joined(ASKS_THE_MAILBOX, "service-mailbox", less=("port-imaps",)),
             seen="port 993: .*refused", mend=True),
    stopped("port-pop3s", "mailbox", joined(ASKS_THE_MAILBOX, "service-mailbox", less=("port-pop3s",)),
             seen="port 995: .*refused", state="warning", remedy=("journalctl -u mailstead-mailbox -n 50", "mailstead apply")),
    stopped("port-managesieve", "mailbox", joined(ASKS_THE_MAILBOX, "service-mailbox", less=("port-managesieve",)),
             seen="port 4190: .*refused", state="warning", mend=True),
    stopped("port-submission", "mta", joined(ASKS_THE_MTA, "service-mta", less=("port-submission",)),
             seen="port 587: .*refused", state="warning", remedy=("mailstead apply",)),
    stopped("port-submissions", "mta", joined(ASKS_THE_MTA, "service-mta", less=("port-submissions",)),
             seen="port 465: .*refused", mend=True),
    Proof("port-http", "sed -i 's/return 301 .*/return 404;/' /etc/nginx/nginx.conf && systemctl reload nginx",
          "port 80: it answers 404", "warning", also=("as-planned",), remedy=("mailstead apply",)),
    Proof("port-https", "sed -i 's#location /admin {#location /elsewhere {#' /etc/nginx/nginx.conf && systemctl reload nginx",
          "port 443: the panel's login page answers 404", also=("as-planned",), remedy=("mailstead apply",)),
]  # fmt: skip

FALL_OVER = """
for time in 1 2 3 4; do
    before=$(systemctl show -P NRestarts mailstead-{role})
    systemctl kill --signal=KILL mailstead-{role}
    for _ in $(seq 60); do
        [ "$(systemctl show -P NRestarts mailstead-{role})" != "$before" ] && break; sleep 0.1
    done
done
for _ in $(seq 100); do [ -S /run/mailstead/{role}/{role}.sock ] && break; sleep 0.1; done
"""

ROLES = ("directory", "mailbox", "mta", "filter", "dns", "web")
RESTARTS = [
    Proof(
        f"restarts-{role}",
        FALL_OVER.format(role=role),
        "start it again 4 times",
        state="warning",
        mend=place % 2 == 0,
        remedy=(f"journalctl -u mailstead-{role} -n 100", f"systemctl restart mailstead-{role}") if place % 2 else (),
    )
    for place, role in enumerate(ROLES)
]

def unit(check, unit, also=(), state="failed", stop="", **how):
    how = how or {"remedy": (f"systemctl restart {unit}",)}
    return Proof(check, stop or f"systemctl stop {unit}", "inactive|failed", state=state, also=also, **how)


UNITS = [
    unit("unit-nginx", "nginx.service", ASKS_NGINX),
    unit("unit-nsd", "nsd.service", ("name-server", "as-planned"), perhaps=("outbound-25",),
          remedy=("systemctl restart nsd.service",)),
    unit("unit-unbound", "unbound.service", ASKS_THE_RESOLVER),
    unit("unit-checks", "mailstead-checks.timer", ("as-planned",), "warning"),
    unit("unit-backup", "mailstead-backup.timer", ("as-planned",)),
    unit("unit-certs", "mailstead-certs.timer", ("as-planned",)),
    unit("unit-signing", "mailstead-dns-sign.timer", ("as-planned",)),
    unit("unit-certificate-watch", "mailstead-nginx-certificate.path", ("as-planned",), "warning"),
    unit("unit-zones-watch", "mailstead-nsd-zones.path", ("as-planned",), "warning", mend=True),
    unit("unit-package-lists", "apt-daily.timer", (), "warning"),
    unit("unit-updates", "apt-daily-upgrade.timer", (), "warning", mend=True),
    unit("unit-nftables", "nftables.service", ("firewall", "as-planned"), "warning"),
    unit("unit-journal", "systemd-journald.service", ("as-planned",), "warning",
          stop="systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service"),
]  # fmt: skip

# A run that fails for a cause which is then gone.
FAILED_RUN = """
mkdir -p /run/systemd/system/{unit}.d
printf '[Service]\\nExecStartPre=\\nExecStart=\\nExecStart=/bin/false\\n' > /run/systemd/system/{unit}.d/proof.conf
systemctl daemon-reload; systemctl start {unit} || true
rm -r /run/systemd/system/{unit}.d; systemctl daemon-reload
"""


def _run(check, unit, state, **how):
    how = how or {"remedy": (f"journalctl -u {unit} -n 50", f"systemctl start {unit}")}
    return Proof(check, FAILED_RUN.format(unit=unit), r"its last run failed \(exit-code\)", state=state, **how)


RUNS = [
    _run("run-backup", "mailstead-backup.service", "failed"),
    _run("run-certificate", "mailstead-nginx-certificate.service", "warning", mend=True),
    _run("run-certs", "mailstead-certs.service", "warning"),
    _run("run-signing", "mailstead-dns-sign.service", "failed", mend=True),
    _run("run-zones", "mailstead-nsd-zones.service", "failed"),
]

# --- the firewall

OTHER_RULES = """
nft list table inet mailstead > /tmp/rules
sed -i -E '{change}' /tmp/rules
(echo 'delete table inet mailstead'; cat /tmp/rules) | nft -f -
"""


def _open(check, port, state, change=None, **how):
    how = how or {"remedy": ("systemctl reload-or-restart nftables",)}
    change = change or rf"/tcp dport/s/ {port},| {port} / /"
    return Proof(check, OTHER_RULES.format(change=change), f"port {port}: the firewall keeps everybody out", state=state, **how)


FIREWALL = [
    _open("open-25", 25, "failed"),
    _open("open-53-tcp", 53, "failed", mend=True),
    _open("open-53-udp", 53, "failed", "/udp dport 53 accept/d", perhaps=("outbound-25",),
          remedy=("systemctl reload-or-restart nftables",)),
    _open("open-80", 80, "warning"),
    _open("open-443", 443, "failed"),
    _open("open-465", 465, "failed"),
    _open("open-587", 587, "warning"),
    _open("open-993", 993, "failed"),
    _open("open-995", 995, "warning"),
    _open("open-4190", 4190, "warning", r"s/, 4190//"),
    Proof("open-others", OTHER_RULES.format(change="s/4190/4190, 8080/"), "8080/tcp: the firewall lets it in", "warning",
          remedy=("systemctl reload-or-restart nftables",)),
    Proof("firewall", "nft delete table inet mailstead", "the box's rules are not loaded",
          remedy=("systemctl reload-or-restart nftables", "nft list ruleset")),
]  # fmt: skip

# --- the rest of safety


def _stop_the_stranger(place, result):
    """Finds out who listens as the remedy says, and stops it."""
    command = re.search(r"(ss -ltunp)", result["remedy"]).group(1)
    line = next(line for line in place.box.run("bash", "-c", command).out.splitlines() if ":8000 " in line)
    place.box.run("kill", re.search(r"pid=(\d+)", line).group(1))


CLOUD_IMAGE = """
rm /etc/ssh/sshd_config.d/00-keys-only.conf
printf 'PermitRootLogin yes\\nPasswordAuthentication yes\\n' > /etc/ssh/sshd_config.d/50-cloud.conf
systemctl reload ssh
"""

SAFETY = [
    Proof("strangers", "systemd-run --quiet --collect python3 -m http.server 8000; sleep 0.5", r"port 8000 \(tcp\): python3 listens",
          "notice", by_hand=_stop_the_stranger),
    Proof("secrets", "chmod 644 /var/lib/mailstead/tls/key.pem", "key.pem: mode 0644", perhaps=("as-planned",),
          remedy=("chmod 0640 /var/lib/mailstead/tls/key.pem",)),
    Proof("ssh-passwords", "rm /etc/ssh/sshd_config.d/00-keys-only.conf; systemctl reload ssh", "passwords are taken on port 22",
          "warning", remedy=(
              'printf "PasswordAuthentication no\\nKbdInteractiveAuthentication no\\n" > /etc/ssh/sshd_config.d/00-keys-only.conf',
              "sshd -t && systemctl reload ssh")),
    Proof("ssh-root", CLOUD_IMAGE, "root may log in with a password", "warning", also=("ssh-passwords",), remedy=(
        "echo 'PermitRootLogin prohibit-password' > /etc/ssh/sshd_config.d/10-root.conf", "systemctl reload ssh"),
        after="rm /etc/ssh/sshd_config.d/50-cloud.conf /etc/ssh/sshd_config.d/10-root.conf; " + KEYS_ONLY),
]  # fmt: skip

# --- the machine


def said_by_the_kernel(check, file, text, seen, command, state="warning"):
    """The kernel says something else for a while; what the remedy has the owner look at can be looked at."""
    breaks = f"printf '{text}' > /run/proof-{check}; mount --bind /run/proof-{check} {file}"

    def follow(place, result):
        assert command in result["remedy"], result["remedy"]
        place.box.run("bash", "-c", f"command -v {command.split()[0]}")

    return Proof(check, breaks, seen, state, by_hand=follow, gone=f"umount {file}")


def _pressure(of, command):
    text = "some avg10=99.00 avg60=99.00 avg300=98.50 total=1\\n"
    return said_by_the_kernel(f"pressure-{of}", f"/proc/pressure/{of}", text.replace("%", "%%"), "tasks waited for 98.5 %", command,
                               "notice")  # fmt: skip


KERNEL = [
    said_by_the_kernel("load", "/proc/loadavg", "99.00 99.00 98.50 1/2 3\\n", "98.5", "top", "notice"),
    said_by_the_kernel("memory", "/proc/meminfo", "MemTotal: 1000000 kB\\nMemAvailable: 50000 kB\\n", "48 MB available of 976 MB",
                        "ps -eo rss,comm --sort=-rss | head"),
    said_by_the_kernel("open-files", "/proc/sys/fs/file-nr", "900\\t0\\t1000\\n", "900 of 1000",
        "for one in /proc/[0-9]*; do echo $(ls $one/fd | wc -l) $(cat $one/comm); done | sort -n | tail"),
    _pressure("cpu", "top -o %CPU"),
    _pressure("memory", "top -o %MEM"),
    _pressure("io", "journalctl -k -n 50"),
]  # fmt: skip

MACHINE = [
    Proof("machine-name", "hostnamectl set-hostname vps-17", "vps-17", "notice", remedy=("hostnamectl set-hostname box.example.com",),
          after="hostnamectl set-hostname box"),
    Proof("failed-units", "systemd-run --quiet --unit=broken /bin/false; sleep 0.3", "broken.service: failed", "notice",
          remedy=("systemctl reset-failed broken.service",)),
    Proof("as-planned", "echo '# by hand' >> /etc/nginx/nginx.conf", "/etc/nginx/nginx.conf", "warning", mend=True),
    Proof("restart", "touch /run/reboot-required; echo linux-image-amd64 > /run/reboot-required.pkgs", "linux-image-amd64",
          "notice", by_hand=lambda place, result: (
              re.search("Restart at a quiet time: reboot", result["remedy"]).group(0), place.box.reboot(),
              place.owner.wait_for_services())),
    Proof("system-support", "sed 's/^VERSION_ID=.*/VERSION_ID=\"22.04\"/; s/^ID=.*/ID=ubuntu/' /etc/os-release > /run/os-release; "
          "sed -i '/^PRETTY/s/=.*/=\"Ubuntu 22.04\"/' /run/os-release; mount --bind /run/os-release /usr/lib/os-release",
          "Ubuntu 22.04: updates until 2027-04-01", "warning", remedy=("mailstead backup now",), gone="umount /usr/lib/os-release"),
    Proof("updates", "touch -d '9 days ago' /var/lib/apt/lists /var/lib/apt/lists/partial; rm -f /var/lib/apt/periodic/update-success-stamp",
          "last looked for 9 days ago", "warning", remedy=("apt-get update && apt-get upgrade",)),
]  # fmt: skip

# --- storage


def _small(at, megabytes, filled):
    return (f"rm -rf /run/kept; cp -a {at} /run/kept; mount -t tmpfs -o size={megabytes}m,mode=1777 tmpfs {at}; cp -a /run/kept/. {at}/; "
            f"dd if=/dev/zero of={at}/runaway bs=1M count={filled} status=none")  # fmt: skip


def _remove_what_is_large(at):
    """Looks at what is large as the remedy says, and removes it."""

    def follow(place, result):
        command = re.search(r"(du -xh.*)", result["remedy"]).group(1)
        assert at in command, command
        largest = place.box.run("bash", "-c", command).out.split()
        assert at in largest, largest
        place.do(f"rm {at}/runaway")

    return follow


STORAGE = [
    Proof("space-tmp", _small("/tmp", 150, 80), r"/tmp: \d\d MB free", "warning", by_hand=_remove_what_is_large("/tmp"),
          after="umount /tmp"),
    Proof("space-log", _small("/var/log", 230, 60), r"/var/log: 1\d\d MB free", "warning", also=("disk-space",),
          by_hand=_remove_what_is_large("/var/log"), after="umount /var/log"),
    Proof("disk-space", "mount -t tmpfs -o size=300m,mode=750 tmpfs /var/log/mailstead", r"/var/log/mailstead: 300 MB free of 300 MB",
          by_hand=lambda place, result: (re.search("give the server a larger disk", result["remedy"]).group(0),
                                         place.do("mount -o remount,size=4g /var/log/mailstead")),
          after="umount /var/log/mailstead"),
]  # fmt: skip

# --- the world's view

def _enter_ds(place, result):
    line = re.search(r"wanted: +(\d+ 13 2 [0-9A-Fa-f]+)", result["remedy"]).group(1)
    place.delegate(ds=[line])


def _enter_glue(place, result):
    """Enters at the registrar what stands behind “as hosts with addresses (glue)”."""
    hosts = re.search(r"\(glue\): (.*)", result["remedy"]).group(1).split("; ")
    pairs = [host.split(" with ") for host in hosts]
    place.delegate(ns=[name for name, _ in pairs],
                   glue=[f"{name}={address}" for name, addresses in pairs for address in addresses.split(" and ")])  # fmt: skip


def _wrong_glue(place):
    servers = [f"ns{n}.{place.owner.hostname}" for n in (1, 2)]
    place.delegate(glue=[f"{servers[0]}={place.box.ipv4}", f"{servers[0]}={place.box.ipv6}", f"{servers[1]}={place.world.peer.ipv4}",
                         f"{servers[1]}={place.box.ipv6}"])  # fmt: skip


def _ptr(family):
    def breaks(place):
        place.world.names.ptr(getattr(place.box, family), "static-101.clients.hosting.net")
        place.forget()

    def follow(place, result):
        address, name = re.search(r"(\S+)  ->  (\S+)", result["remedy"]).groups()
        place.world.names.ptr(address, name)
        place.forget()

    return Proof(f"ptr-{family}", breaks, "static-101.clients.hosting.net", by_hand=follow)


def _listed(family):
    def breaks(place):
        place.world.names.blocklist(getattr(place.box, family))
        place.forget()

    def follow(place, result):
        address = re.search(r"https://check.spamhaus.org/results/\?query=(\S+)", result["remedy"]).group(1)
        place.world.names.blocklist(address, None)
        place.forget()

    return Proof(f"blocklist-{family}", breaks, r"zen.spamhaus.org: \S+ is listed \(127.0.0.2\)", by_hand=follow)


def _list_domain(place):
    place.world.names.change("spamhaus.org.", put=[("example.com.dbl.spamhaus.org.", "A", "127.0.1.2")])
    place.forget()


def _unlist_domain(place, result):
    domain = re.search(r"https://check.spamhaus.org/results/\?query=(\S+)", result["remedy"]).group(1)
    place.world.names.change("spamhaus.org.", unset=[(f"{domain}.dbl.spamhaus.org.", "A")])
    place.forget()


WORLD = [
    Proof("ds", lambda place: place.delegate(ds=()), "no DS record", "warning", also=("dnssec",), by_hand=_enter_ds),
    Proof("name-servers", _wrong_glue, "ns2.box.example.com: glue 45", by_hand=_enter_glue),
    _ptr("ipv4"),
    _ptr("ipv6"),
    _listed("ipv4"),
    _listed("ipv6"),
    Proof("blocklist-domain", _list_domain, r"example.com is listed \(127.0.1.2\)", by_hand=_unlist_domain),
    Proof("outbound-25", "nft 'add table inet provider; add chain inet provider out { type filter hook output priority 0; }; "
          "add rule inet provider out oif != lo tcp dport 25 drop'", "gmail-smtp-in.l.google.com: .*no answer|did not|within",
          also=("outbound-ipv6",), by_hand=lambda place, result: (re.search(r"open outbound TCP port 25 for 45.90.101.10", result["remedy"]).group(0),
                                         place.do("nft delete table inet provider"))),
]  # fmt: skip

# --- the zone, changed by hand where no signature guards it


# What was published before is handed over first.
HANDED_OVER = """
for i in $(seq 50); do [ "$(systemctl show --property ActiveState --value mailstead-nsd-zones)" = activating ] || break; sleep 0.1; done
"""
ZONE = "/var/lib/mailstead/zones/example.com.zone"


def edit(change):
    """Changes the zone's file by hand, and sees to it that the name server has read it: NSD was seen to lose a reload."""

    def change_it(place):
        place.zone_edit = change_it

        def served():
            kinds = ("SOA", "NSEC3PARAM")
            ask = ("dig", "+norec", "+dnssec", "+noall", "+answer", f"@{place.box.ipv4}", "example.com")
            return [place.world.laptop.run(*ask, kind).out for kind in kinds]

        place.do(HANDED_OVER)
        before = served()
        place.do(f"sed -i -E '{change}' {ZONE}")

        def read():
            place.do(f"touch {ZONE} && nsd-control reload && sleep 0.3")
            return served() != before

        wait_for(read, 20, "the name server to read the zone that was changed by hand", interval=0.1)
        place.do(RESOLVE_ANEW)

    return change_it


PUBLISH = ("mailstead dns publish",)
SIGNED = r"/\s(RRSIG|NSEC3|NSEC3PARAM|DNSKEY|CDS|CDNSKEY)\s/d"


def _record(check, change, seen, state="failed", **how):
    def follow(place, result):
        command, = PUBLISH
        assert command in result["remedy"], result["remedy"]
        place.owner.run("dns", "publish")
        place.forget()

    # Without its signatures the zone is one that an owner might have written: a record that is gone is just not there.
    return Proof(check, edit(f"{change};{SIGNED}"), seen, state, by_hand=follow, unsigned=True,
                 also=joined(("zone-signatures", "zone-denial"), *how.pop("also", ())), **how)  # fmt: skip


RECORDS = [
    _record("mx", r"/\sMX\s/s/box\.example\.com\.$/mx.elsewhere.org./", "mx.elsewhere.org", also=("round-trip",)),
    _record("spf", r"/v=spf1 mx/d", "no SPF record"),
    _record("dmarc", r"/^_dmarc\./d", "no DMARC record"),
    _record("dkim", r"/_domainkey/d", "no DKIM record"),
    _record("mta-sts", r"/^_mta-sts\./d", "no such record", "warning"),
    _record("tls-rpt", r"/^_smtp\._tls\./d", "no such record", "notice"),
    _record("tlsa", r"/^_25\._tcp.*TLSA/s/3 1 1 ..../3 1 1 dead/", "3 1 1 (dead|DEAD)", "warning"),
    _record("tlsa-clients", r"/^_443\._tcp.*TLSA/s/3 1 1 ..../3 1 1 dead/", "_443._tcp.box.example.com TLSA: 3 1 1 (dead|DEAD)", "notice"),
    _record("spf-lookups", f"/v=spf1 mx/s/v=spf1 mx/v=spf1 mx {' '.join(f'a:{n}.box.example.com' for n in range(10))}/",
            "example.com TXT: 11 look-ups"),
    _record("hostname-address", r"/^box\.example\.com\.\s.*\sIN AAAA\s/s/(.*AAAA\s+).*/&\n\1 2a0d:5600:ffff::1/", "also 2a0d:5600:ffff::1"),
    _record("other-records", r"/^_imaps\._tcp/d", "_imaps._tcp.example.com SRV: no such record", "notice"),
]  # fmt: skip

SIGNATURES = [
    Proof("dnssec", edit(r"/RRSIG\s+SOA/s/[A-Za-z0-9+\/]{20}(=*)$/AAAAAAAAAAAAAAAAAAAA\1/"), "signatures and DS do not match", "warning",
          by_hand=lambda place, result: (re.search("Sign anew: mailstead dns publish", result["remedy"]).group(0),
                                         place.owner.run("dns", "publish"), place.forget())),
]

# --- mail: a program in the mail server's place

IMPOSTOR = """
systemctl stop mailstead-mta
cat > /run/impostor.py <<'END'
import socket, sys, threading
greeting, recipient = sys.argv[1:3]
def serve(peer):
    lines = peer.makefile("rwb", buffering=0)
    lines.write(greeting.encode() + b"\\r\\n")
    for line in lines:
        word = line[:4].upper()
        answer = {b"RCPT": recipient, b"QUIT": "221 bye"}.get(word, "250 box.example.com")
        lines.write(answer.encode() + b"\\r\\n")
door = socket.create_server(("::", 25), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()
END
systemd-run --quiet --collect --unit=impostor python3 /run/impostor.py 'GREETING' 'RECIPIENT'
for _ in $(seq 50); do ss -Hltn | grep -q ':25 ' && break; sleep 0.1; done
"""
GONE = "systemctl stop impostor"


def _impostor(greeting, recipient):
    return IMPOSTOR.replace("GREETING", greeting).replace("RECIPIENT", recipient)


# The impostor answers for port 25, so what is asked there can be told; it is a stranger that listens, too.
BESIDE_AN_IMPOSTOR = joined(ASKS_THE_MTA, "service-mta", "strangers", less=("postmaster", "relay-closed"))

MAIL = [
    Proof("port-smtp", _impostor("220 vps-17.example.net ESMTP", "550 5.1.1 not here"), "it calls itself “vps-17.example.net”, not box",
          also=joined(BESIDE_AN_IMPOSTOR, "postmaster", less=("port-smtp",)), gone=GONE, mend=True),
    Proof("postmaster", _impostor("220 box.example.com ESMTP", "550 5.1.1 nobody of that name"),
          "postmaster@example.com: 550 5.1.1 nobody of that name", "warning", also=BESIDE_AN_IMPOSTOR, gone=f"{GONE}; systemctl start mailstead-mta",
          by_hand=lambda place, result: re.search("mailstead user add owner@example.com --admin", result["remedy"]).group(0)),
    Proof("relay-closed", _impostor("220 box.example.com ESMTP", "250 2.1.5 welcome"), "answered 250 2.1.5 welcome",
          also=BESIDE_AN_IMPOSTOR, gone=GONE,
          remedy=("systemctl stop mailstead-mta", "mailstead apply; systemctl start mailstead-mta")),
]  # fmt: skip


def sql(database, statement, role):
    """Changes what a role keeps, while it does not look."""
    script = f"import sqlite3, time; it = sqlite3.connect('/var/lib/mailstead/{database}'); it.execute(\"{statement}\"); it.commit()"
    return f'systemctl stop mailstead-{role}; python3 -c "{script.replace(chr(34), chr(92) + chr(34))}"; systemctl start mailstead-{role}; sleep 0.5'


def an_old_letter(place):
    """A letter for somebody who is always busy waits; then five hours go by."""
    mail.submit(place.world, place.owner.email, place.owner.password, "later@peer.org", mail.subject("for later"),
                server=place.owner.hostname)  # fmt: skip

    def tried():
        waiting = json.loads(place.owner.run("queue", "--json").out)
        return waiting and "450" in json.dumps(waiting)

    wait_for(tried, 30, "the first attempt", interval=0.3)
    place.box.run("bash", "-c", OLDER)


OLDER = """
set -e; systemctl stop mailstead-mta
python3 - <<'END'
import json, sqlite3
it = sqlite3.connect("/var/lib/mailstead/queue/queue.db")
for number, entry in it.execute("SELECT number, entry FROM entry").fetchall():
    def older(value):
        if isinstance(value, dict):
            return {k: v - 5 * 3600 if k in ("queued", "arrived", "received") and isinstance(v, int) else older(v) for k, v in value.items()}
        return value
    it.execute("UPDATE entry SET entry = ? WHERE number = ?", (json.dumps(older(json.loads(entry))), number))
it.commit()
END
systemctl start mailstead-mta; sleep 0.5
"""


def _give_up(place, result):
    identity = re.search(r"The oldest: (\S+) to later@peer.org: .*450", result["remedy"]).group(1)
    assert "mailstead queue remove ID" in result["remedy"], result["remedy"]
    place.owner.run("queue", "remove", identity)


QUEUE = [
    Proof("queue", an_old_letter, "1 waiting, the oldest for 5 hours", "warning", by_hand=_give_up),
    Proof("brakes", sql("queue/known.db", "INSERT INTO brake VALUES ('owner@example.com', strftime('%s')-60, strftime('%s')+3000, "
                         "'more than 300 messages within an hour', 1)", "mta"),
          "may send nothing: more than 300", "warning", remedy=("mailstead user password owner@example.com",
                                                                "mailstead sending lift owner@example.com"),
          after=lambda place: place.give_password_back()),
]  # fmt: skip

# --- accounts


def _set_one_up(place, result):
    assert "mailstead user second-factor add owner@example.com" in result["remedy"], result
    place.owner.second_factor()


ACCOUNTS = [
    Proof("accounts", "mailstead user add jane@example.com; "
          + sql("directory/box.db", "DELETE FROM account WHERE address LIKE 'owner%'", "directory"),
          "accounts: 1, owner@example.com not among them", perhaps=("postmaster",),
          after=lambda place: (place.do("mailstead user remove jane@example.com"), place.give_password_back()),
          remedy=("mailstead user add owner@example.com --admin",)),
    Proof("second-factor", "mailstead user second-factor remove owner@example.com", "owner@example.com: opens the panel by the password alone",
          "notice", by_hand=_set_one_up),
    Proof("aliases", lambda place: (place.owner.run("alias", "add", "shop@example.com", place.owner.email, "--until", "2099-12-31"),
                                    place.do(sql("directory/box.db", "UPDATE alias_rule SET until = 1700000000", "directory"))),
          "shop@example.com: its time is over", "notice", remedy=("mailstead alias remove shop@example.com",)),
    Proof("lists", "mailstead list add club@example.com", "club@example.com: nobody gets what is posted", "notice",
          remedy=("mailstead list remove club@example.com",)),
]  # fmt: skip

# --- backups

BACKUPS = [
    Proof("backup", "touch -d '3 days ago' /var/backups/mailstead/*.age", r"3 days old|72 hours old", remedy=("mailstead backup now",)),
    Proof("backup-size", "cd /var/backups/mailstead; rm $(ls -t *.age | tail -n +2) || true; newest=$(ls -t *.age | head -1); "
          "touch -d '1 hour ago' $newest; head -c 2048 $newest > box-short.tar.zst.age; chown --reference=$newest box-short.tar.zst.age",
          "box-short.tar.zst.age has 2 KB", "warning", mend=True, after="rm /var/backups/mailstead/box-short.tar.zst.age"),
]  # fmt: skip

# --- certificates: from an authority of the owner's own, which the box trusts or does not, with the key that it has

# Puts a chain into service with the key that the box has, as the certs role does.
PUT = r"""
put() {
    cd /var/lib/mailstead/tls
    install -o ms-certs -g ms-tls -m 644 "$1" chain.new
    cat "$1" key.pem > pair.new && chown ms-certs:ms-tls pair.new && chmod 640 pair.new
    mv pair.new pair.pem && mv chain.new chain.pem
}
"""
OTHER_CHAIN = PUT + r"""
cd /run; [ -e ca.key ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 3650 \
    -subj '/CN=An authority of our own' 2>/dev/null
cp -n /var/lib/mailstead/tls/chain.pem /run/chain.good
names=$(openssl x509 -in /run/chain.good -noout -ext subjectAltName | tail -n 1 | tr -d ' ' LESS)
openssl req -new -key /var/lib/mailstead/tls/key.pem -subj '/CN=box.example.com' -out box.csr
printf "subjectAltName=$names\\n" > box.ext
openssl x509 -req -in box.csr -CA ca.pem -CAkey ca.key -CAcreateserial LIFE -extfile box.ext -out box.pem 2>/dev/null
TRUST
cat box.pem ca.pem > /run/chain.other
put /run/chain.other
"""
TRUST = "cp ca.pem /usr/local/share/ca-certificates/proof.crt; update-ca-certificates >/dev/null 2>&1"
DISTRUST = "rm -f /usr/local/share/ca-certificates/proof.crt; update-ca-certificates --fresh >/dev/null 2>&1"


SELF_SIGNED = PUT + """
cp -n /var/lib/mailstead/tls/chain.pem /run/chain.good
names=$(openssl x509 -in /run/chain.good -noout -ext subjectAltName | tail -n 1 | tr -d ' ')
openssl req -x509 -key /var/lib/mailstead/tls/key.pem -subj '/CN=box.example.com' -addext "subjectAltName=$names" -days 90 -out /run/self.pem
put /run/self.pem
"""


def _chain(life="-days 60", less=""):
    return OTHER_CHAIN.replace("LIFE", life).replace("TRUST", TRUST).replace("LESS", less)


CERTIFICATES_OF_PORTS = tuple(f"certificate-{port}" for port in ("smtp", "submission", "submissions", "imaps", "pop3s", "managesieve"))
SETTINGS = ("settings-thunderbird", "settings-outlook", "settings-apple")
CERTIFICATES = [
    Proof("certificate-days", _chain('-not_before "$(date -u -d "85 days ago" +%Y%m%d%H%M%SZ)" -not_after "$(date -u -d "5 days" +%Y%m%d%H%M%SZ)"'),
          "4 days left", also=(*CERTIFICATES_OF_PORTS, "certificate-renewal"), remedy=("systemctl start mailstead-certs",), after=DISTRUST),
    Proof("certificate-trusted", SELF_SIGNED, "self-signed: none has been issued yet",
          also=("mta-sts-policy", *SETTINGS, *CERTIFICATES_OF_PORTS), mend=True),
    Proof("certificate-names", _chain(less="| sed s/DNS:autoconfig.example.com,//"), "not in the certificate: autoconfig.example.com",
          "warning", also=("settings-thunderbird",), mend=True, after=DISTRUST),
    Proof("certificate-everywhere", "systemctl stop mailstead-nginx-certificate.path;" + _chain(), "port 443: ", "warning",
          also=("unit-certificate-watch", "as-planned"), gone="systemctl start mailstead-nginx-certificate.path",
          remedy=("systemctl restart mailstead-mta mailstead-mailbox; systemctl reload nginx",),
          after=DISTRUST + ";" + PUT + "put /run/chain.good; sleep 3"),
    Proof("mta-sts-policy", "sed -i s/^mx:.*/mx:elsewhere.org/ /var/lib/mailstead/www/mta-sts.txt", "it does not name box.example.com", "warning",
          also=("as-planned",), remedy=("mailstead apply",)),
]  # fmt: skip


def outside_in_order(place):
    """Whatever a proof that failed left at the registrar, the provider and the lists."""
    place.owner.at_the_provider()
    place.owner.within = ()
    for address in (place.box.ipv4, place.box.ipv6):
        place.world.names.blocklist(address, None)
    place.world.names.change("spamhaus.org.", unset=[("example.com.dbl.spamhaus.org.", "A")])
    network.between(place.world.name, "add table inet provider; delete table inet provider")


ALL = [
    *SERVICES, *PORTS, *RESTARTS, *UNITS, *RUNS, *FIREWALL, *SAFETY, *KERNEL, *MACHINE, *STORAGE, *WORLD, *SIGNATURES,
    *RECORDS, *MAIL, *QUEUE, *BACKUPS, *CERTIFICATES, *ACCOUNTS,
]  # fmt: skip
