"""Certificate authorities: Pebble on loopback, with its usual random failures."""

import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import urllib.request
from pathlib import Path

from .box import eventually


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Busy:
    """Stands before a Pebble: new orders are refused, with the time when to come again. `orders` counts them."""

    def __init__(self, pebble, retry_after, status=429):
        self.orders, port = 0, free_port()
        self.directory = f"https://localhost:{port}/dir"
        busy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                context = ssl.create_default_context(cafile=pebble.ca_file)
                with urllib.request.urlopen(pebble.directory, context=context, timeout=5) as answer:
                    found = json.loads(answer.read())
                # With the latter an order may say what it replaces (RFC 9773 §5).
                found |= {"newOrder": f"https://localhost:{port}/order", "renewalInfo": f"https://localhost:{port}/renewal"}
                self.answer(200 if self.path == "/dir" else 404, "application/json", found)

            def do_POST(self):
                busy.orders += 1
                self.rfile.read(int(self.headers["Content-Length"]))
                problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many today", "status": status}
                self.answer(status, "application/problem+json", problem, {"Retry-After": retry_after})

            def answer(self, status, kind, what, more=None):
                body = json.dumps(what).encode()
                self.send_response(status)
                for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pebble.folder / "pebble.pem", pebble.folder / "pebble.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()


class Pebble:
    """An ACME authority that asks `names_port` for names and port `http_port` for files. With `accounts` (key ids and their
    keys) it knows only those who have one of them."""

    def __init__(self, folder, names_port, http_port, accounts=None):
        self.folder, self.port, self.management = Path(folder), free_port(), free_port()
        self.names_port = names_port
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca_file = self.folder / "ca.pem"
        certificate, key = self._certificate()
        config = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(certificate),
            "privateKey": str(key),
            "httpPort": http_port,
            "tlsPort": 5001,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": bool(accounts),
            "externalAccountMACKeys": accounts or {},
            "certificateValidityPeriod": 90 * 86_400,
        }
        (self.folder / "config.json").write_text(json.dumps({"pebble": config}))
        self.directory = f"https://localhost:{self.port}/dir"
        self.process = None

    def _certificate(self):
        """For its own HTTPS, by an authority in `ca_file`; returns certificate and key."""
        certificate, key, ca_key = self.folder / "pebble.pem", self.folder / "pebble.key", self.folder / "ca.key"
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        request, extensions = self.folder / "request", self.folder / "extensions"
        extensions.write_text("subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:FALSE\n")
        for words in (
            ["req", "-x509", *ec, "-days", "9", "-subj", "/CN=Pebble's own", "-keyout", ca_key, "-out", self.ca_file],
            ["req", "-new", *ec, "-subj", "/CN=localhost", "-keyout", key, "-out", request],
            ["x509", "-req", "-in", request, "-CA", self.ca_file, "-CAkey", ca_key, "-CAcreateserial", "-days", "9"]
            + ["-extfile", extensions, "-out", certificate],
        ):
            subprocess.run(["openssl", *words], check=True, capture_output=True)
        return certificate, key

    def start(self):
        log = open(self.folder / "pebble.log", "a")
        self.process = subprocess.Popen(
            ["pebble", "-config", self.folder / "config.json", "-dnsserver", f"127.0.0.1:{self.names_port}"],
            stdout=log,
            stderr=log,
            # Nonces are rejected and validations delayed as by default; only the longest delays are cut.
            env={**os.environ, "PEBBLE_VA_SLEEPTIME": "2"},
        )
        eventually(self.root, 20, "the authority")
        return self

    def root(self):
        """The root of what it issues, in PEM."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            address = f"https://localhost:{self.management}/roots/0"
            with urllib.request.urlopen(address, context=context, timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return None

    def log(self):
        return (self.folder / "pebble.log").read_text()

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
