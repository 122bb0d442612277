"""A demo box: started in a folder, reached through its sockets and the command line, ended with all its processes."""

import imaplib
import json
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
ROLES = ("directory", "mailbox", "mta", "filter", "dns", "web")
WELL_KNOWN = ("smtp", "submission", "submissions", "imaps", "dns", "http", "https")


def program():
    """The program under test: MAILSTEAD_BINARY, or what cargo built in this checkout."""
    named = os.environ.get("MAILSTEAD_BINARY")
    target = Path(os.environ.get("CARGO_TARGET_DIR", CHECKOUT / "target"))
    return Path(named) if named else target / "debug/mailstead"


def free_ports():
    """The first of forty consecutive ports that nothing uses, below the range that the kernel hands out itself."""
    first = 12_000 + (os.getpid() * 40) % 18_000
    for base in (12_000 + (first - 12_000 + 40 * step) % 18_000 for step in range(400)):
        try:
            for port in range(base, base + 12):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with socket.socket(socket.AF_INET, kind) as probe:
                        probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    raise RuntimeError("there are no forty free ports in a row")


def eventually(what, timeout=20, words="it"):
    """Calls `what` until it returns something true (and returns that) or time is over."""
    ends = time.monotonic() + timeout
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < ends, f"{words} did not come to be within {timeout} s"
        time.sleep(0.1)


class Box:
    def __init__(self, folder, program, *options, email="ann@demo.example"):
        self.folder, self.program, self.email = Path(folder), program, email
        self.options = list(options)
        self.base_port = free_ports()
        self.process, self.endpoints, self.screen = None, {}, []

    # --- Life

    def start(self, timeout=90):
        command = [self.program, "demo", self.folder, "--base-port", self.base_port, "--email", self.email]
        command = [str(word) for word in [*command, *self.options]]
        self.screen = []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=self._read, args=[self.process.stdout], daemon=True).start()

        def ready():
            ended = self.process.poll()
            assert ended is None, f"the demo ended with {ended}:\n{''.join(self.screen)}"
            return any(line.startswith("ready") for line in self.screen)

        eventually(ready, timeout, "a ready demo")
        self.endpoints = json.loads((self.folder / "endpoints.json").read_text())
        return self

    def _read(self, stream):
        for line in stream:
            self.screen.append(line)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise

    def children(self):
        """The demo's processes: the role's or part's name, and the process id."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids = {int(pid) for task in path.parent.parent.iterdir() for pid in (task / "children").read_text().split()}
        found = {}
        for pid in pids:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            name = words[words.index(b"run") + 1] if b"run" in words else Path(words[0].decode()).name.encode()
            if name:  # one that has ended and waits to be noticed has no words any more
                found[name.decode()] = pid
        return found

    def kill(self, role):
        os.kill(self.children()[role], signal.SIGKILL)

    # --- The command line

    def run(self, *words, check=True, stdin=None, timeout=60):
        done = subprocess.run(
            [str(self.program), "--box", str(self.folder), *map(str, words)],
            input=stdin,
            text=True,
            capture_output=True,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def json(self, *words):
        return json.loads(self.run(*words, "--json").stdout)

    def add_user(self, address, password="a long enough pass phrase"):
        self.run("user", "add", address, "--password-file", "-", stdin=password + "\n")
        return password

    # --- Its sockets

    @property
    def hostname(self):
        return self.endpoints["hostname"]

    @property
    def password(self):
        return self.endpoints["password"]

    def at(self, service):
        host, port = self.endpoints[service].rsplit(":", 1)
        return host, int(port)

    def trust(self):
        """TLS as a careful client has it: the demo's authority and nothing else."""
        return ssl.create_default_context(cafile=self.endpoints["ca_file"])

    def smtp(self, source="127.0.0.2"):
        """A connection to port 25 as another server makes it."""
        return smtplib.SMTP(*self.at("smtp"), local_hostname="mx.peer.test", timeout=30, source_address=(source, 0))

    def deliver(self, message, to=None, sender="friend@peer.test", source="127.0.0.2"):
        """Mail from a stranger, over STARTTLS; raises what smtplib raises when the box refuses."""
        with self.smtp(source) as link:
            link.starttls(context=self.trust())
            link.ehlo()
            data = message if isinstance(message, bytes) else message.encode()
            recipients = [to or self.email] if not isinstance(to, list) else to
            return link.sendmail(sender, recipients, data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    def submission(self, login=None, password=None):
        """A logged-in connection to port 465."""
        link = smtplib.SMTP_SSL(*self.at("submissions"), context=self.trust(), timeout=30)
        link.login(login or self.email, password or self.password)
        return link

    def submit(self, message, to, login=None, password=None, sender=None):
        with self.submission(login, password) as link:
            data = message.encode().replace(b"\n", b"\r\n")
            return link.sendmail(sender or login or self.email, to if isinstance(to, list) else [to], data)

    def imap(self, login=None, password=None):
        """A logged-in IMAP connection."""
        link = imaplib.IMAP4_SSL(*self.at("imaps"), ssl_context=self.trust(), timeout=30)
        link.login(login or self.email, password or self.password)
        return link

    def messages(self, folder="INBOX", login=None, password=None):
        """Every message of a folder, as bytes, by UID."""
        link = self.imap(login, password)
        try:
            assert link.select(f'"{folder}"', readonly=True)[0] == "OK"
            _, fetched = link.uid("FETCH", "1:*", "(UID BODY.PEEK[])")
            parts = [part for part in fetched if isinstance(part, tuple)]
            return {int(part[0].split(b"UID ")[1].split()[0]): part[1] for part in parts}
        finally:
            link.logout()

    def wait_for(self, text, folder="INBOX", login=None, password=None, timeout=20):
        """The first message of the folder that holds the text, as soon as there is one."""

        def found():
            messages = self.messages(folder, login, password).values()
            return next((message for message in messages if text.encode() in message), None)

        return eventually(found, timeout, f"a message with {text!r} in {folder}")
