"""Another mail server on 127.0.0.2, with STARTTLS. What it answers follows from the recipient's name:

`refused…@` gets 550, `later…@` gets 450 the first time that it is asked and 250 from then on, all else is taken.
"""

import socketserver
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from email import message_from_bytes, policy

ADDRESS = "127.0.0.2"


@dataclass
class Received:
    sender: str
    recipients: list
    raw: bytes
    tls: bool
    message: object = field(init=False)

    def __post_init__(self):
        self.message = message_from_bytes(self.raw, policy=policy.default)


class Peer:
    def __init__(self, folder):
        self.received, self.asked = [], {}
        self._changed = threading.Condition()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        key, cert = folder / "peer.key", folder / "peer.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mx.peer.test"]
            + ["-keyout", str(key), "-out", str(cert)],
            check=True,
            capture_output=True,
        )
        self.tls.load_cert_chain(cert, key)
        handler = type("Handler", (Conversation,), {"peer": self})
        self._server = socketserver.ThreadingTCPServer((ADDRESS, 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def judge(self, recipient):
        count = self.asked[recipient] = self.asked.get(recipient, 0) + 1
        if recipient.startswith("refused"):
            return "550 5.1.1 nobody of that name"
        if recipient.startswith("later") and count == 1:
            return "450 4.2.0 come again later"
        return "250 2.1.5 ok"

    def take(self, received):
        with self._changed:
            self.received.append(received)
            self._changed.notify_all()

    def wait_for(self, text, timeout=20):
        """The message that holds this text, as soon as it is there."""
        ends = time.monotonic() + timeout
        with self._changed:
            while True:
                found = [one for one in self.received if text.encode() in one.raw]
                if found:
                    return found[0]
                left = ends - time.monotonic()
                assert left > 0, f"no message with {text!r} came within {timeout} s"
                self._changed.wait(left)

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Conversation(socketserver.BaseRequestHandler):
    """One connection (RFC 5321, as far as an honest client takes it)."""

    def handle(self):
        self.secure = False
        self.file = self.request.makefile("rb")
        self.say("220 mx.peer.test ESMTP")
        self.reset()
        while line := self.file.readline(2048):
            verb, _, rest = line.decode("ascii", "replace").strip().partition(" ")
            action = getattr(self, "do_" + verb.lower(), None)
            if verb.upper() == "QUIT":
                return self.say("221 bye")
            action(rest) if action else self.say("502 no such command")

    def say(self, text):
        self.request.sendall(text.encode() + b"\r\n")

    def reset(self):
        self.sender, self.recipients = None, []

    def do_ehlo(self, _):
        lines = ["mx.peer.test", "8BITMIME", "SIZE 50000000"] + ([] if self.secure else ["STARTTLS"])
        for line in lines[:-1]:
            self.say("250-" + line)
        self.say("250 " + lines[-1])

    def do_starttls(self, _):
        self.say("220 go ahead")
        self.request = self.peer.tls.wrap_socket(self.request, server_side=True)
        self.file, self.secure = self.request.makefile("rb"), True

    def do_rset(self, _):
        self.reset()
        self.say("250 ok")

    def do_mail(self, rest):
        self.sender = rest[rest.index("<") + 1 : rest.index(">")]
        self.say("250 ok")

    def do_rcpt(self, rest):
        recipient = rest[rest.index("<") + 1 : rest.index(">")]
        answer = self.peer.judge(recipient)
        if answer.startswith("250"):
            self.recipients.append(recipient)
        self.say(answer)

    def do_data(self, _):
        if not self.recipients:
            return self.say("554 no valid recipients")
        self.say("354 go on")
        lines = []
        while (line := self.file.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        self.peer.take(Received(self.sender, self.recipients, b"".join(lines), self.secure))
        self.reset()
        self.say("250 2.0.0 taken")
