"""A small name server: the names of the world outside, and the box's own zones as its NSD serves them.

It is what the demo is given as its resolver. Only what the tests need of RFC 1035 is here.
"""

import socket
import socketserver
import struct
import threading

A, PTR, MX, TXT, AAAA = 1, 12, 15, 16, 28


def name(text):
    labels = [label.encode() for label in text.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def a(address):
    return A, socket.inet_aton(address)


def aaaa(address):
    return AAAA, socket.inet_pton(socket.AF_INET6, address)


def mx(preference, host):
    return MX, struct.pack("!H", preference) + name(host)


def ptr(host):
    return PTR, name(host)


def txt(text):
    data = text.encode()
    return TXT, b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))


def question(query):
    """The name and type that a query asks for, and where the question ends."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    return ".".join(labels), struct.unpack_from("!H", query, at + 1)[0], at + 5


class Names:
    """Answers on 127.0.0.1, over UDP and TCP. `zones` are passed on to `authority` (host and port)."""

    def __init__(self):
        self.records = {}
        self.zones, self.authority = (), None
        answer = self.answer

        class Udp(socketserver.BaseRequestHandler):
            def handle(self):
                data, sock = self.request
                sock.sendto(answer(data), self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self):
                while head := self.rfile.read(2):
                    reply = answer(self.rfile.read(struct.unpack("!H", head)[0]), tcp=True)
                    self.wfile.write(struct.pack("!H", len(reply)) + reply)

        self._servers = [socketserver.ThreadingUDPServer(("127.0.0.1", 0), Udp)]
        self.port = self._servers[0].server_address[1]
        tcp = type("Server", (socketserver.ThreadingTCPServer,), {"allow_reuse_address": True})
        self._servers.append(tcp(("127.0.0.1", self.port), Tcp))
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def add(self, owner, *records):
        self.records.setdefault(owner, []).extend(records)

    def answer(self, query, tcp=False):
        try:
            asked, kind, end = question(query)
        except (IndexError, struct.error, UnicodeDecodeError):
            return query[:2] + b"\x80\x01" + bytes(8)
        if any(asked == zone or asked.endswith("." + zone) for zone in self.zones):
            return self._pass_on(query, tcp)
        there = [data for its, data in self.records.get(asked, []) if its == kind]
        above_something = any(owner == asked or owner.endswith("." + asked) for owner in self.records)
        code = 0 if above_something else 3
        head = query[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, len(there), 0, 0)
        answers = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 5, len(data)) + data for data in there)
        return head + query[12:end] + answers

    def _pass_on(self, query, tcp):
        try:
            if tcp:
                with socket.create_connection(self.authority, timeout=3) as link:
                    link.sendall(struct.pack("!H", len(query)) + query)
                    stream = link.makefile("rb")
                    return stream.read(struct.unpack("!H", stream.read(2))[0])
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
                link.settimeout(3)
                link.sendto(query, self.authority)
                return link.recv(65535)
        except (OSError, TypeError, struct.error):
            return query[:2] + b"\x80\x02" + bytes(8)  # SERVFAIL

    def close(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()
