"""The mailbox beside Dovecot: the same messages, disk, certificate and durability, turn by turn in one run.

Both take mail over LMTP on a Unix socket and sync it before they answer (Dovecot: mail_fsync = always), serve IMAP over
TLS with the same certificate, and check the same argon2id hash. Dovecot is Debian's, with its defaults but for what is
written in CONFIG below. The client is src/mailbox/examples/load.rs, one process for each measurement.
"""

import json
import os
import pwd
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

CHECKOUT = Path(__file__).resolve().parent.parent
USER = "ann@example.org"
PACKAGES = "dovecot-core dovecot-imapd dovecot-lmtpd dovecot-fts-xapian"

CONFIG = """
protocols = imap lmtp
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/dovecot.log
ssl = required
ssl_cert = <{dir}/cert.pem
ssl_key = <{dir}/key.pem
listen = 127.0.0.1
mail_location = maildir:{dir}/mail/%d/%n/Maildir:LAYOUT=fs
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
mail_fsync = always
mail_max_userip_connections = 0
auth_mechanisms = plain
passdb {{
  driver = passwd-file
  args = username_format=%u {dir}/users
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={dir}/mail/%d/%n
}}
# Argon2 needs more than the default.
service auth {{
  vsz_limit = 0
}}
service auth-worker {{
  vsz_limit = 0
}}
service imap-login {{
  process_min_avail = 2
  # One process for many connections, its way of saving memory (the high-performance mode of its manual).
  service_count = 0
  client_limit = 6000
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
  }}
}}
service imap {{
  process_limit = 6000
  vsz_limit = 0
}}
service anvil {{
  client_limit = 20000
}}
service auth {{
  client_limit = 20000
  # For Postfix, where it stands beside.
  unix_listener {dir}/auth.sock {{
    mode = 0666
  }}
}}
service lmtp {{
  process_min_avail = 2
  unix_listener {dir}/lmtp.sock {{
    mode = 0666
  }}
}}
default_client_limit = 20000
default_process_limit = 6500
{fts}
"""

FTS = """
mail_plugins = fts fts_xapian
plugin {{
  fts = xapian
  fts_xapian = partial=3 full=20
  fts_autoindex = yes
  fts_enforced = yes
}}
service indexer-worker {{
  vsz_limit = 0
}}
"""


def say(text):
    print(f"[{time.strftime('%T')}] {text}", file=sys.stderr, flush=True)


# --- Messages

def corpus(folder, count):
    """Writes so many messages, always the same ones: words by Zipf's law, some HTML, some with an attachment."""
    chance = random.Random(2026)
    syllables = [a + b for a in "b c d f g h k l m n p r s t v w".split() for b in "a e i o u ai en or st".split()]
    words = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(30000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    people = [(f"{chance.choice(words).title()} {chance.choice(words).title()}", chance.choice(words)) for _ in range(300)]
    for number in range(count):
        sender, receiver = chance.choices(people, k=2)
        subject = " ".join(chance.choices(words, weights, k=chance.randint(2, 7)))
        lines, total = [], max(30, int(chance.lognormvariate(5.3, 0.9)))
        text = chance.choices(words, weights, k=min(total, 5000))
        for at in range(0, len(text), 11):
            lines.append(" ".join(text[at:at + 11]))
        body = "\r\n".join(lines)
        received = "".join(
            f"Received: from mx{hop}.example.net (mx{hop}.example.net [192.0.2.{hop}])\r\n\tby in.example.org with ESMTPS id {number:08x}{hop};"
            f"\r\n\tSat, 21 Nov 2026 08:{number % 60:02}:0{hop} +0000\r\n" for hop in range(3))
        head = (
            f"{received}From: {sender[0]} <{sender[1]}@example.net>\r\nTo: {receiver[0]} <{receiver[1]}@example.org>\r\n"
            f"Subject: {subject}\r\nDate: Sat, 21 Nov 2026 {number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02} +0000\r\n"
            f"Message-ID: <{number}.{chance.getrandbits(64):x}@example.net>\r\nX-Mailer: Bench 1.0\r\nMIME-Version: 1.0\r\n")
        kind = chance.random()
        if kind < 0.4:
            whole = f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n"
        else:
            html = f"<html><body><p>{body}</p></body></html>"
            parts = (f"--alt\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n"
                     f"--alt\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}\r\n--alt--\r\n")
            if kind < 0.9:
                whole = f"{head}Content-Type: multipart/alternative; boundary=alt\r\n\r\n{parts}"
            else:
                blob = "\r\n".join(f"{chance.getrandbits(450):076x}"[:76] for _ in range(chance.randint(50, 1500)))
                whole = (f"{head}Content-Type: multipart/mixed; boundary=mix\r\n\r\n--mix\r\nContent-Type: multipart/alternative; boundary=alt"
                         f"\r\n\r\n{parts}\r\n--mix\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
                         f"Content-Disposition: attachment; filename=\"{chance.choice(words)}.bin\"\r\n\r\n{blob}\r\n--mix--\r\n")
        (folder / f"{number:07}.eml").write_text(whole, newline="")
    return words


# --- The two servers

class Mailstead:
    name = "Mailstead"

    def __init__(self, folder, program, base_port, people, options=()):
        self.dir, self.program = folder, program
        self.words = [program, "demo", folder, "--email", USER, "--hostname", "box.example.org", "--base-port", str(base_port)]
        self.words += options
        self.start()
        self.endpoints = json.loads((folder / "endpoints.json").read_text())
        self.password = self.endpoints["password"]
        self.imaps, self.lmtp = self.endpoints["imaps"], self.endpoints["lmtp"]
        self.hostname, self.ca = self.endpoints["hostname"], self.endpoints["ca_file"]
        for address in people:
            subprocess.run([program, "--box", folder, "user", "add", address, "--password-file", "-"], input=self.password,
                           text=True, check=True, capture_output=True)

    def start(self):
        log = open(self.dir.parent / "mailstead.log", "a")
        self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE, stderr=log, text=True)
        for line in self.process.stdout:
            if line.startswith("ready"):
                return
        raise SystemExit("the demo box did not start; see mailstead.log")

    def command(self, *words):
        return subprocess.run([self.program, "--box", self.dir, *words], text=True, check=True, capture_output=True).stdout

    def maildir(self, address=USER):
        local, domain = address.split("@")
        return next(self.dir.glob(f"**/mail/{domain}/{local}/Maildir"))

    def processes(self):
        return [pid for pid in children(self.process.pid) if "mailbox" in cmdline(pid)]

    def close(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)


class Dovecot:
    def __init__(self, folder, beside, port, people, fts=False):
        self.name = "Dovecot + fts-xapian" if fts else "Dovecot"
        self.dir, self.password, self.hostname, self.ca = folder, beside.password, beside.hostname, beside.ca
        self.imaps, self.lmtp = f"127.0.0.1:{port}", f"{folder}/lmtp.sock"
        folder.mkdir(mode=0o755)
        tls = find_tls(beside.dir)
        shutil.copy(tls[0], folder / "cert.pem")
        shutil.copy(tls[1], folder / "key.pem")
        # Files of its own user, as it insists on one that is not root.
        account = pwd.getpwnam("mail")
        (folder / "mail").mkdir()
        os.chown(folder / "mail", account.pw_uid, account.pw_gid)
        (folder / "users").write_text("".join(f"{who}:{own_hash(beside)}\n" for who in [USER, *people]))
        config = CONFIG.format(dir=folder, user="mail", group="mail", port=port, fts=FTS.format() if fts else "")
        (folder / "dovecot.conf").write_text(config)
        self.process = subprocess.Popen(["dovecot", "-F", "-c", folder / "dovecot.conf"])
        for _ in range(100):
            if Path(self.lmtp).exists():
                return
            time.sleep(0.1)
        raise SystemExit(f"Dovecot did not start; see {folder}/dovecot.log")

    def maildir(self, address=USER):
        local, domain = address.split("@")
        return self.dir / "mail" / domain / local / "Maildir"

    def processes(self):
        return [self.process.pid, *children(self.process.pid)]

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=30)


def own_hash(beside):
    """Mailstead's own hash of the password, which Dovecot reads as well; so both do the same work at a login."""
    database = next(beside.dir.glob("**/box.db"))
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        (kept,) = db.execute("SELECT hash FROM account WHERE address = ?", [USER]).fetchone()
    return "{ARGON2ID}" + kept


def find_tls(folder):
    """The demo's certificate chain and key."""
    chain = next(folder.glob("**/tls/chain.pem"))
    return chain, chain.with_name("key.pem")


def children(pid):
    found, out = [pid], []
    tree = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            tree.setdefault(parent, []).append(int(entry.name))
    while found:
        below = tree.get(found.pop(), [])
        out += below
        found += below
    return out


def cmdline(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def pss(pids):
    """The proportional share of memory of processes, in KiB."""
    total = 0
    for pid in pids:
        try:
            total += int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M).group(1))
        except (OSError, AttributeError):
            continue
    return total


# --- Measuring

class Bench:
    def __init__(self, work, load):
        self.work, self.load, self.rows = work, load, []

    def client(self, *words, **how):
        done = subprocess.run([self.load, *map(str, words)], capture_output=True, text=True, **how)
        if done.returncode:
            raise SystemExit(f"the client failed: {done.stderr}")
        return [line.split() for line in done.stdout.splitlines()]

    def imap(self, server, *commands, user=USER, **how):
        (self.work / "password").write_text(server.password)
        out = self.client("imap", server.imaps, server.hostname, server.ca, user, self.work / "password", *commands, **how)
        return [float(seconds) for seconds, _ in out]

    def row(self, what, servers, measure, unit="ms", rounds=3, faster_is="less"):
        """Measures each server `rounds` times, turn by turn, and takes the medians."""
        taken = [[] for _ in servers]
        for _ in range(rounds):
            for at, server in enumerate(servers):
                taken[at].append(measure(server))
        self.put(what, [median(values) for values in taken], unit, faster_is)

    def put(self, what, values, unit, faster_is="less"):
        ours, rest = values[0], values[1:]
        ratios = [(other / ours if faster_is == "less" else ours / other) if ours and other else None for other in rest]
        self.rows.append((what, unit, values, ratios))
        shown = ", ".join(f"{value:.2f}" for value in values)
        say(f"{what}: {shown} {unit}; times as good: {', '.join('-' if r is None else f'{r:.1f}' for r in ratios)}")


def run(program, load, count, idle, texts):
    work = Path(tempfile.mkdtemp(prefix="mailstead-bench-", dir="/var/tmp"))
    work.chmod(0o755)
    (work / "messages").mkdir()
    say(f"writing {count} messages")
    words = corpus(work / "messages", count)
    people = [f"p{number}@example.org" for number in range(100)]
    ours = Mailstead(work / "box", program, 21000, people)
    theirs = None
    try:
        theirs = Dovecot(work / "dovecot", ours, 21900, people)
        bench = Bench(work, load)
        measure(bench, [ours, theirs], words, count)
        if texts:
            search(bench, ours, work, words, count, texts)
        if idle:
            memory(bench, [ours, theirs], people, idle)
    finally:
        for server in (ours, theirs):
            if server:
                server.close()
        if not os.environ.get("BENCH_KEEP"):
            shutil.rmtree(work, ignore_errors=True)
    return bench.rows


def measure(bench, servers, words, count):
    messages = bench.work / "messages"
    few = min(count, 1000)
    for connections in (1, 20):
        def rate(server, connections=connections):
            took = float(bench.client("deliver", server.lmtp, f"p{connections}@example.org", messages, few, connections)[0][0])
            return few / took
        bench.row(f"LMTP, {connections} connection{'s' if connections > 1 else ''}", servers, rate, "mail/s", faster_is="more")
    say(f"delivering {count} messages to each")
    for server in servers:
        bench.client("deliver", server.lmtp, USER, messages, count, 8)

    def logins(server):
        (bench.work / "password").write_text(server.password)
        took = bench.client("login", server.imaps, server.hostname, server.ca, USER, bench.work / "password", 20)
        return float(took[0][0]) / 20 * 1000
    bench.row("login (TLS, argon2id), logout", servers, logins)

    def timed(*commands, which=-1):
        return lambda server: bench.imap(server, *commands)[which] * 1000
    select = "SELECT INBOX"
    # Once for each, so that both have read what they keep of the messages.
    for server in servers:
        bench.imap(server, select, "FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)")
    bench.row(f"SELECT, {count} messages", servers, timed(select, "UNSELECT", select))
    for what in ("FLAGS", "ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[]"):
        bench.row(f"FETCH {what} of {count}", servers, timed(select, f"FETCH 1:* ({what})"))
    rare, common = words[9000], words[40]
    wait_for_index(servers[0])
    bench.row("SEARCH by Subject", servers, timed(select, f"SEARCH SUBJECT {words[700]}"))
    bench.row("SEARCH by From", servers, timed(select, "SEARCH FROM example.net"))
    bench.row("SEARCH by flag", servers, timed(select, "SEARCH UNSEEN"))
    bench.row(f"SEARCH by text (rare word), {count} messages, Dovecot without index", servers, timed(select, f"SEARCH TEXT {rare}"), rounds=1)
    bench.row(f"SEARCH by text (common word), {count} messages, Dovecot without index", servers, timed(select, f"SEARCH BODY {common}"), rounds=1)
    bench.row(f"STORE +FLAGS of {count}", servers, timed(select, "STORE 1:* +FLAGS.SILENT (\\Flagged)", "STORE 1:* -FLAGS.SILENT (\\Flagged)", which=1))
    bench.row("STORE one flag", servers, timed(select, "STORE 5 +FLAGS (\\Seen)", "STORE 5 -FLAGS (\\Seen)", which=1))
    bench.row(f"COPY of {count}", servers, timed(select, "CREATE Copies", "COPY 1:* Copies", "DELETE Copies", which=2))

    def expunge(server):
        took = bench.imap(server, "CREATE Doomed", select, "COPY 1:* Doomed", "SELECT Doomed",
                          "STORE 1:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE", "UNSELECT", "DELETE Doomed")
        return took[5] * 1000
    bench.row(f"EXPUNGE of {count}", servers, expunge, rounds=1)


def search(bench, ours, work, words, count, texts):
    """Text search: beside Dovecot with its full-text index in a folder of `count`, and alone in one of `texts`."""
    sources = sorted((work / "messages").iterdir())
    beside_an_index(bench, ours, work, sources[:count], words)
    say(f"{texts} messages in one folder")
    fill(ours.maildir() / "cur", sources, texts - count, ours)
    began = time.monotonic()
    bench.imap(ours, "SELECT INBOX")
    say(f"taking them in: {time.monotonic() - began:.1f} s")
    wait_for_index(ours)
    say(f"Mailstead's index took {time.monotonic() - began:.0f} s")
    for what, word in needles(words):
        bench.row(f"SEARCH TEXT, {what} word, {texts} messages", [ours], found(bench, word))
    select = "SELECT INBOX"
    bench.row(f"SELECT, {texts} messages", [ours], lambda server: bench.imap(server, select, "UNSELECT", select)[-1] * 1000)
    flag = ("STORE 5 +FLAGS (\\Answered)", "STORE 5 -FLAGS (\\Answered)")
    bench.row(f"STORE one flag, {texts} messages", [ours], lambda server: bench.imap(server, select, *flag)[1] * 1000)


# Its index of all parts of words takes long to make; what is not there after this time is left out.
DOVECOT_INDEXES_WITHIN = 300


def beside_an_index(bench, ours, work, sources, words):
    indexed = Dovecot(work / "dovecot-fts", ours, 21901, [], fts=True)
    count = len(sources)
    try:
        fill(make_maildir(indexed) / "cur", sources, count, indexed)
        say("waiting for Dovecot's index")
        began = time.monotonic()
        try:
            bench.imap(indexed, "SELECT INBOX", f"SEARCH TEXT {words[9000]}", timeout=DOVECOT_INDEXES_WITHIN)
        except subprocess.TimeoutExpired:
            say(f"Dovecot's index of {count} messages was not made within {DOVECOT_INDEXES_WITHIN} s")
            return
        say(f"Dovecot's index took {time.monotonic() - began:.0f} s")
        for what, word in needles(words):
            bench.row(f"SEARCH TEXT, {what} word, {count} messages, both indexed", [ours, indexed], found(bench, word))
    finally:
        indexed.close()


def needles(words):
    return ("rare", words[9000]), ("common", words[40]), ("part of a", words[9000][1:5])


def found(bench, word):
    return lambda server: bench.imap(server, "SELECT INBOX", f"SEARCH TEXT {word}")[-1] * 1000


def make_maildir(server):
    maildir = server.maildir()
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True, exist_ok=True)
    return maildir


def fill(cur, sources, texts, server):
    for number in range(texts):
        text = sources[number % len(sources)].read_bytes()
        name = cur / f"{1_700_000_000 + number}.M{number}.bench:2,"
        name.write_bytes(text)
    if isinstance(server, Dovecot):
        subprocess.run(["chown", "-R", "mail:mail", server.dir / "mail"], check=True)


def wait_for_index(ours):
    """Until every message stands in the full-text index."""
    folder = ours.maildir().parent

    def count(file, table):
        with sqlite3.connect(f"file:{folder / file}?mode=ro", uri=True) as db:
            return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    for _ in range(900):
        if count("text.db", "indexed") >= count("index.db", "messages"):
            return
        time.sleep(1)
    say("the index is still not complete")


def memory(bench, servers, people, idle):
    users = bench.work / "users"
    values = []
    for server in servers:
        users.write_text("".join(f"{person} {server.password}\n" for person in people))
        # Once around, so that what is kept for each account is there before.
        held(bench, server, users, len(people))
        before = pss(server.processes())
        values.append((held(bench, server, users, idle) - before) / idle)
    bench.put(f"memory per idle connection, {idle} of them", values, "KiB")


def held(bench, server, users, count):
    client = subprocess.Popen([bench.load, "idle", server.imaps, server.hostname, server.ca, users, str(count)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if client.stdout.readline().strip() != "idle":
            raise SystemExit(f"{count} connections were not taken by {server.name}")
        time.sleep(2)
        return pss(server.processes())
    finally:
        client.stdin.close()
        client.wait(timeout=60)


def table(rows, beside="Dovecot"):
    print(f"| what | Mailstead | {beside} | times as good |\n| --- | --- | --- | --- |")
    for what, unit, values, ratios in rows:
        shown = [f"{value:.0f} {unit}" if value >= 100 else f"{value:.2f} {unit}" for value in values]
        ratio = f"{ratios[0]:.1f}" if ratios and ratios[0] else "–"
        print(f"| {what} | {shown[0]} | {shown[1] if len(shown) > 1 else '–'} | {ratio} |")
