"""Mail servers that misbehave, each in its own way and at its own address. Runs on the host `awkward`, alone.

    python3 awkward.py '{"grey": "45.90.7.21", …}' CERTIFICATE KEY

All take mail by the letter of RFC 5321 but for the one thing that they are named after (PEERS). What they saw goes to
LOG, one JSON object a line: `taken` with `acknowledged` when a whole message was here, `dropped` when it was cut off.
Mail that was taken counts as arrived even if its 250 never left: the honest view of who sends it again.
"""

import json
import socket
import socketserver
import ssl
import sys
import threading
import time
from email import message_from_bytes, policy
from pathlib import Path

LOG = Path("/var/log/awkward.log")
# Whoever waits on the silent server is let go once this file is there.
LET_GO = Path("/srv/let-go")


class Conversation(socketserver.BaseRequestHandler):
    """One connection to a server without faults; the others differ in what they override."""

    greeting = "220 {host} ESMTP"
    offers = ("8BITMIME", "SIZE 52428800")

    def handle(self):
        self.secure, self.sender, self.recipients = False, None, []
        self.file = self.request.makefile("rb")
        try:
            self.converse()
        except (OSError, ValueError):
            pass  # the other side is gone

    def converse(self):
        self.say(self.greeting.format(host=self.server.host))
        while line := self.file.readline(4096):
            verb, _, rest = line.decode("ascii", "replace").strip().partition(" ")
            if verb.upper() == "QUIT":
                return self.say("221 bye")
            match getattr(self, f"do_{verb.lower()}", self.unknown)(rest):
                case "drop":
                    return self.drop()
                case "end":
                    return None

    def unknown(self, _):
        self.say("502 5.5.1 no such command")

    def say(self, text):
        self.request.sendall(text.encode() + b"\r\n")

    def drop(self):
        """Ends the connection as a crash or a pulled cable's router does."""
        # SO_LINGER of zero seconds: a reset, and what was not read yet is gone.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.file.close()
        self.request.close()

    def note(self, event, **what):
        what = {"peer": self.server.name, "event": event, "to": self.recipients, "tls": self.secure, **what}
        with self.server.lock, LOG.open("a") as log:
            log.write(json.dumps({"at": time.time(), **what}) + "\n")

    def first(self, *what):
        """Whether this is seen for the first time by this server."""
        with self.server.lock:
            new = what not in self.server.seen
            self.server.seen.add(what)
            return new

    def do_ehlo(self, _):
        lines = [self.server.host, *self.offers]
        for line in lines[:-1]:
            self.say("250-" + line)
        self.say("250 " + lines[-1])

    def do_helo(self, _):
        self.say("250 " + self.server.host)

    def do_noop(self, _):
        self.say("250 2.0.0 ok")

    def do_rset(self, _):
        self.sender, self.recipients = None, []
        self.say("250 2.0.0 ok")

    def do_mail(self, rest):
        self.sender = rest[rest.index("<") + 1 : rest.index(">")]
        self.say("250 2.1.0 ok")

    def do_rcpt(self, rest):
        recipient = rest[rest.index("<") + 1 : rest.index(">")]
        answer = self.judge(recipient)
        if answer.startswith("250"):
            self.recipients.append(recipient)
        self.say(answer)

    def judge(self, recipient):
        return "250 2.1.5 ok"

    def do_data(self, _):
        self.say("354 go ahead")
        data = self.read_message()
        if data is None:
            return "drop"
        message = message_from_bytes(data, policy=policy.default)
        answer = self.end_of_data(message)
        taken = answer is None or answer.startswith("250")
        if taken:
            acknowledged = answer is not None
            self.note("taken", acknowledged=acknowledged, id=message["message-id"], subject=message["subject"])
        self.sender, self.recipients = None, []
        if answer is None:
            return "drop"
        self.say(answer)
        return "end" if self.closes_after_message() else None

    def read_message(self):
        """All up to the final dot; None when the connection is to be cut."""
        data = bytearray()
        while (line := self.file.readline(1 << 20)) and line != b".\r\n":
            data += line
            if self.cuts(data):
                return None
        if not line:
            raise OSError("closed in the middle")
        return bytes(data)

    def cuts(self, data):
        return False

    def end_of_data(self, message):
        """The reply; None: the connection ends without one."""
        return "250 2.0.0 taken"

    def closes_after_message(self):
        return False


class Grey(Conversation):
    """Greylisting: the first try of a triplet is asked to come again."""

    def judge(self, recipient):
        if self.first(self.client_address[0], self.sender, recipient):
            return "451 4.7.1 greylisted, please come again in five minutes"
        return "250 2.1.5 ok"


class Drips(Conversation):
    """A tarpit: whatever it says comes at one octet a second."""

    greeting = "220 ."
    offers = ()

    def say(self, text):
        for octet in (text[:4].rstrip() + " \r\n").encode():
            self.request.sendall(bytes([octet]))
            time.sleep(1)


class Silent(Conversation):
    """It accepts the connection and never says a word."""

    def converse(self):
        while not LET_GO.exists():
            time.sleep(0.3)
        self.drop()


class Dot(Conversation):
    """It takes a message and is gone before it says so; when the same comes again it does say so."""

    def end_of_data(self, message):
        return None if self.first(message["message-id"]) else "250 2.0.0 taken"


class Data(Conversation):
    """It is gone in the middle of a message, the first time."""

    def cuts(self, data):
        if len(data) > 2_000 and self.first(self.sender, *self.recipients):
            self.note("dropped")
            return True
        return False


class Busy(Conversation):
    """Once it is too busy to say hello, then it is not."""

    def converse(self):
        if self.first("busy"):
            self.note("dropped")
            return self.say("421 4.3.2 too busy, come back later")
        super().converse()


class Refuses(Conversation):
    """It does not know nobody@, and does not like what the others get."""

    def judge(self, recipient):
        if recipient.startswith("nobody@"):
            return "550 5.1.1 there is no mailbox of that name here"
        return "250 2.1.5 ok"

    def end_of_data(self, message):
        return "554 5.7.1 we do not like the content of this message"


class Talks(Conversation):
    """A reply of 100 kB: within the bounds of a reply (lines@), too many lines (more@), or a line without end (wide@)."""

    def judge(self, recipient):
        kind, count, width = recipient.partition("@")[0], 95, 1_050
        if kind == "wide":
            return "550 5.1.1 " + "x" * 100_000
        if kind == "more":
            count, width = 1_000, 100
        line = "550-5.1.1 " + "never heard of them, " * (width // 21)
        return "\r\n".join([line] * count + ["550 5.1.1 and that is all"])


class Breaks(Conversation):
    """It offers STARTTLS, says that it is ready for it, and is not."""

    offers = ("STARTTLS", "8BITMIME")

    def do_starttls(self, _):
        self.note("dropped")
        self.request.sendall(b"220 go ahead\r\n\x00\x00this is no handshake")
        return "end"


class Loses(Breaks):
    """TLS works for the first message, and never again."""

    def do_starttls(self, rest):
        if self.server.seen:
            return super().do_starttls(rest)
        self.say("220 2.0.0 go ahead")
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        self.file, self.secure = self.request.makefile("rb"), True
        return None

    def end_of_data(self, message):
        self.first(message["message-id"])
        return "250 2.0.0 taken"

    def closes_after_message(self):
        return True


PEERS = {
    "sound": Conversation, "grey": Grey, "drips": Drips, "silent": Silent, "dot": Dot, "data": Data, "busy": Busy,
    "refuses": Refuses, "talks": Talks, "breaks": Breaks, "loses": Loses,
}  # fmt: skip


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 100

    def __init__(self, name, address, tls):
        super().__init__((address, 25), PEERS[name])
        self.name, self.host, self.tls = name, f"mx.{name}.awkward.org", tls
        self.seen, self.lock = set(), threading.Lock()


def main():
    addresses, certificate, key = json.loads(sys.argv[1]), *sys.argv[2:4]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    threads = []
    for name, address in addresses.items():
        server = Server(name, address, tls)
        threads.append(threading.Thread(target=server.serve_forever))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
