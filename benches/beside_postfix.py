"""The MTA beside Debian's Postfix with Dovecot's LMTP: the same messages, disk and durability, turn by turn in one run.

In: smtp-source (of Postfix) sends over plain SMTP, many messages over each connection. Both have every message in a mailbox, synced, before it counts: the
box before its 250, Postfix when its queue is empty again. The box also asks its filter about each; Postfix has none.
With a hundred connections these come from five addresses, since both servers bound what one may hold.
Submission: ten accounts, each over a connection of its own with STARTTLS and one login, into the queue, where it stays. The box
also signs each message, twice.
Out: both empty a queue of waiting messages into smtp-sink at 127.0.0.3:25, for one destination and for a thousand; the
names come from an unbound of this run. The queue of 100,000 deferred messages is the box's alone.
"""

import json
import multiprocessing
import os
import re
import shutil
import smtplib
import sqlite3
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from beside_dovecot import USER, Bench, Dovecot, Mailstead, children, cmdline, pss, say

PACKAGES = "postfix dovecot-core dovecot-lmtpd dovecot-imapd unbound"
SINK = "127.0.0.3"
RESOLVER = "127.0.0.9"

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {dir}/spool
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {dir}/postfix.log
maillog_file_prefixes = {dir}
myhostname = box.example.org
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
virtual_mailbox_domains = example.org
virtual_transport = lmtp:unix:{lmtp}
virtual_mailbox_maps = static:yes
smtpd_tls_cert_file = {tls}/cert.pem
smtpd_tls_key_file = {tls}/key.pem
smtpd_tls_security_level = may
smtp_tls_security_level = may
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_process_limit = 200
message_size_limit = 52428800
mailbox_size_limit = 0
bounce_queue_lifetime = 5d
"""

MASTER_CF = """
{port} inet n - n - - smtpd
{submission} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_sasl_type=dovecot
  -o smtpd_sasl_path={auth}
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
  -o smtpd_data_restrictions=check_sender_access,static:hold
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

UNBOUND = """
server:
    interface: {address}
    port: 53
    access-control: 127.0.0.0/8 allow
    do-daemonize: no
    chroot: ""
    username: ""
    pidfile: ""
    directory: "{dir}"
    use-syslog: no
    logfile: "{dir}/unbound.log"
    local-zone: "sink.test." redirect
    local-data: "sink.test. 60 A {sink}"
    local-zone: "." static
remote-control:
    control-enable: no
"""


class Postfix:
    name = "Postfix + Dovecot"

    def __init__(self, folder, dovecot, port):
        self.dir, self.port, self.dovecot = folder, port, dovecot
        self.submission = port + 1
        for part in ("etc", "spool", "data"):
            (folder / part).mkdir(parents=True)
        shutil.chown(folder / "data", "postfix", "postfix")
        folder.chmod(0o755)
        main = MAIN_CF.format(dir=folder, lmtp=dovecot.lmtp, tls=dovecot.dir)
        (folder / "etc/main.cf").write_text(main)
        (folder / "etc/master.cf").write_text(MASTER_CF.format(
            port=f"127.0.0.1:{port}", submission=f"127.0.0.1:{self.submission}", auth=f"{dovecot.dir}/auth.sock"))
        for table in ("dynamicmaps.cf", "postfix-files"):
            if Path("/etc/postfix", table).exists():
                shutil.copy(Path("/etc/postfix", table), folder / "etc" / table)
        (folder / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
        self.control("start", mounts=True)

    def control(self, *words, mounts=False):
        command = ["postfix", "-c", str(self.dir / "etc"), *words]
        if mounts:
            # Its own view of the resolver, without touching the machine's.
            script = f"mount --bind {self.dir}/resolv.conf /etc/resolv.conf && exec {' '.join(command)}"
            command = ["unshare", "--mount", "sh", "-c", script]
        subprocess.run(command, check=True, capture_output=True, text=True)

    def set(self, name, value):
        subprocess.run(["postconf", "-c", self.dir / "etc", f"{name}={value}"], check=True)
        self.control("reload")
        time.sleep(1)

    def waiting(self):
        return sum(1 for part in ("maildrop", "incoming", "active", "deferred") for _ in
                   (path for path in (self.dir / "spool" / part).rglob("*") if path.is_file()))

    def settle(self):
        while self.waiting():
            time.sleep(0.02)

    def fill(self, domains, bytes_each):
        """Mail for each domain in turn, held back until `drain`."""
        self.set("defer_transports", "smtp")
        text = body(bytes_each)
        with smtplib.SMTP("127.0.0.1", self.port) as link:
            for domain in domains:
                link.sendmail("ann@example.org", [f"bob@{domain}"], text)
        time.sleep(2)

    def drain(self):
        self.set("defer_transports", "")
        subprocess.run(["postqueue", "-c", self.dir / "etc", "-f"], check=True)

    def close(self):
        self.control("stop")


class Box(Mailstead):
    """The demo box, with ways to fill its queue and start it again."""

    def settle(self):
        pass

    def folder(self):
        return next(self.dir.glob("**/queue/queue.db")).parent

    def fill(self, domains, bytes_each, later=0):
        """Entries as docs/queue-format.md describes them, written while the box is down."""
        now, text = int(time.time()), body(bytes_each).replace("\n", "\r\n")
        with sqlite3.connect(self.folder() / "queue.db") as db:
            for number, domain in enumerate(domains):
                recipient = {"address": f"bob@{domain}", "local": False, "state": "waiting", "tries": 1 if later else 0,
                             "next_try": now + later, "last": "it does not answer"}
                entry = {"id": f"bench-{now}-{number}", "sender": USER, "queued": now, "bytes": len(text), "eight_bit": False,
                         "judged": False, "recipients": [recipient]}
                row = db.execute("INSERT INTO entry (id, entry) VALUES (?, ?)", (entry["id"], json.dumps(entry)))
                db.execute("INSERT INTO content (number, message) VALUES (?, ?)", (row.lastrowid, text.encode()))

    def mta(self):
        return [pid for pid in children(self.process.pid) if "run mta" in cmdline(pid)]


class Sink:
    """smtp-sink, and when it had how many messages."""

    def __init__(self):
        command = ["stdbuf", "-o0", "smtp-sink", "-c", "-u", "nobody", f"inet:{SINK}:25", "2000"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.seen = [(time.monotonic(), 0)]
        threading.Thread(target=self.read, daemon=True).start()
        time.sleep(0.5)

    def read(self):
        rest = b""
        while piece := self.process.stdout.read1(65536):
            rest = (rest + piece)[-4096:]
            if counts := re.findall(rb"quit=\d+ +|mesg=(\d+)|(\d+) messages?", rest):
                numbers = [int(number) for group in counts for number in group if number] if isinstance(counts[0], tuple) else []
                if numbers and numbers[-1] > self.seen[-1][1]:
                    self.seen.append((time.monotonic(), numbers[-1]))

    def rate(self, count, within=120):
        """Messages per second from the first to the last of `count`."""
        end = time.monotonic() + within
        while self.seen[-1][1] < count:
            if time.monotonic() > end:
                raise SystemExit(f"only {self.seen[-1][1]} of {count} messages came to the sink")
            time.sleep(0.01)
        first = next(at for at, number in self.seen if number > 0)
        return count / max(self.seen[-1][0] - first, 0.001)

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=10)


def body(octets):
    head = "From: ann@example.org\nTo: bob@sink.test\nSubject: measured\nMessage-ID: <m@example.org>\nDate: Sat, 21 Nov 2026 08:00:00 +0000\n\n"
    return head + "A line of text that is sixty-four octets long with its line end.\n" * max(1, (octets - len(head)) // 65)


def source(port, connections, octets, count, preload=None):
    """Sends with smtp-source; no more than twenty connections from one address."""
    groups = max(1, connections // 20)
    command = ["smtp-source", "-s", connections // groups, "-l", octets, "-m", count // groups, "-d", "-f", "eve@peer.test", "-t", USER,
               f"inet:127.0.0.1:{port}"]
    running = []
    for group in range(groups):
        environment = {**os.environ, "LD_PRELOAD": str(preload), "FROM_ADDRESS": f"127.0.{group + 1}.1"} if groups > 1 else None
        running.append(subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment))
    for process in running:
        _, words = process.communicate(timeout=600)
        if process.returncode or "fatal" in words:
            raise SystemExit(f"smtp-source: {words[-500:]}")


def writer(port, hostname, ca, account, password, count, barrier):
    """One account's program: logs in, waits for the others, sends."""
    trust = ssl.create_default_context(cafile=ca)
    with smtplib.SMTP("127.0.0.1", port) as link:
        link._host = hostname  # what the certificate is for
        link.starttls(context=trust)
        link.login(account, password)
        text = body(4_000).replace(USER, account)
        barrier.wait()
        for _ in range(count):
            link.sendmail(account, ["bob@sink.test"], text)
    barrier.wait()


def submission(bench, ours, theirs, people, few):
    ports = {ours.name: int(ours.endpoints["submission"].split(":")[1]), theirs.name: theirs.submission}
    for account in people:
        ours.command("user", "undo-window", account, "600")  # it stays in the queue
    # An account may send 300 an hour.
    each = min(80, few // len(people))

    def rate(server):
        barrier = multiprocessing.Barrier(len(people) + 1)
        known = (ours.hostname, ours.ca)
        writers = [multiprocessing.Process(target=writer, args=(ports[server.name], *known, account, ours.password, each, barrier)) for account in people]
        for one in writers:
            one.start()
        barrier.wait(60)
        began = time.monotonic()
        barrier.wait(300)
        took = time.monotonic() - began
        for one in writers:
            one.join()
            if one.exitcode:
                raise SystemExit(f"a writer failed at {server.name}")
        return len(people) * each / took
    bench.row(f"submission, 4 kB, {len(people)} connections", [ours, theirs], rate, "mail/s", faster_is="more")


def resolver(work):
    folder = work / "unbound"
    folder.mkdir()
    (folder / "unbound.conf").write_text(UNBOUND.format(address=RESOLVER, dir=folder, sink=SINK))
    process = subprocess.Popen(["unbound", "-c", folder / "unbound.conf"])
    time.sleep(1)
    return process


def box(work, program, port, people):
    options = ["--resolver", f"{RESOLVER}:53", "--remote-smtp-port", "25"]
    return Box(work / "box", program, port, people, options)


def inbound(bench, ours, theirs, few):
    preload = bench.work / "from_address.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", preload, Path(__file__).parent / "from_address.c", "-ldl"], check=True)
    ports = {ours.name: ours.endpoints["smtp"].split(":")[1], theirs.name: theirs.port}
    for octets, label in ((1_000, "1 kB"), (4_000, "4 kB"), (100_000, "100 kB")):
        for connections in (1, 10, 20, 100):
            count = few // (10 if octets > 50_000 else 1) // (4 if connections == 1 else 1)

            def rate(server, connections=connections, octets=octets, count=count):
                began = time.monotonic()
                source(ports[server.name], connections, octets, count, preload)
                server.settle()
                return count / (time.monotonic() - began)
            bench.row(f"in, {label}, {connections} connection{'s' if connections > 1 else ''}", [ours, theirs], rate, "mail/s", faster_is="more")


def outbound(bench, work, program, ours, theirs, few):
    """Each server's queue is filled, then let go; the box is filled while it is down and counted from its first message."""
    for what, domains in (("one destination", ["a.sink.test"] * few), ("a thousand destinations", [f"d{n % 1000}.sink.test" for n in range(few)])):
        rates = {}
        for server in (ours, theirs):
            taken = []
            for _ in range(3):
                if server is ours:
                    server.close()
                server.fill(domains, 4_000)
                sink = Sink()
                if server is ours:
                    server.start()
                else:
                    server.drain()
                taken.append(sink.rate(few))
                sink.close()
                time.sleep(1)
            rates[server.name] = median(taken)
        bench.put(f"out, 4 kB, {what}", [rates[ours.name], rates[theirs.name]], "mail/s", faster_is="more")


def large_queue(bench, ours, count):
    ours.close()
    domains = [f"d{number % 5000}.nowhere.test" for number in range(count)]
    ours.fill(domains, 2_000, later=6 * 3600)
    began = time.monotonic()
    ours.start()
    whole = time.monotonic() - began
    log = "".join(path.read_text() for path in ours.dir.glob("**/mta.log"))
    size = json.loads(ours.command("queue", "size", "--json"))
    if size["messages"] < count:
        raise SystemExit(f"the queue holds only {size['messages']}")
    took = re.findall(r"messages wait in the queue, taken up in (\d+) ms", log)
    bench.put(f"a queue of {count} deferred: taking it up", [int(took[-1]) if took else whole * 1000], "ms")
    bench.put(f"a queue of {count} deferred: memory of the MTA", [pss(ours.mta()) / 1024], "MiB")


def run(program, few, deferred):
    work = Path(tempfile.mkdtemp(prefix="mailstead-bench-", dir="/var/tmp"))
    work.chmod(0o755)
    names = resolver(work)
    people = [f"p{number}@example.org" for number in range(10)]
    ours = box(work, program, 21000, people)
    theirs = dovecot = None
    try:
        dovecot = Dovecot(work / "dovecot", ours, 21900, people)
        theirs = Postfix(work / "postfix", dovecot, 21950)
        bench = Bench(work, None)
        inbound(bench, ours, theirs, few)
        submission(bench, ours, theirs, people, few)
        outbound(bench, work, program, ours, theirs, few)
        if deferred:
            large_queue(bench, ours, deferred)
    finally:
        for server in (theirs, dovecot, ours):
            if server:
                server.close()
        names.terminate()
        if not os.environ.get("BENCH_KEEP"):
            shutil.rmtree(work, ignore_errors=True)
    return bench.rows
