"""Proofs of the checks of single ports' certificates, and of their renewal."""

from .proofs import Proof
from .proofs_names import delete_the_rules

# Somebody who sits between, with a certificate of their own; everything else passes through unchanged.
BETWEEN = r"""
cd /run; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout between.key -out between.pem -days 30 \
    -subj '/CN=box.example.com' -addext 'subjectAltName=DNS:box.example.com' 2>/dev/null
chown nobody between.key
cat > between.py <<'END'
import socket, ssl, sys, threading
port, starts = int(sys.argv[1]), sys.argv[2] == "starttls"
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain("/run/between.pem", "/run/between.key")
client = ssl._create_unverified_context()
def copy(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass
    for end in (one, other):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
def line(end):
    text = b""
    while not text.endswith(b"\n"):
        text += end.recv(1) or b"\n"
    return text
def until_starttls(near, far):
    asked = threading.Event()
    def back():
        while (text := line(far)).strip():
            near.sendall(text)
            if asked.is_set():
                return
    reader = threading.Thread(target=back)
    reader.start()
    while (text := line(near)).strip():
        if text.strip().upper() == b"STARTTLS":
            asked.set()
        far.sendall(text)
        if asked.is_set():
            break
    reader.join()
def serve(near):
    far = socket.create_connection(("127.0.0.1", port))
    if starts:
        until_starttls(near, far)
    near, far = server.wrap_socket(near, server_side=True), client.wrap_socket(far)
    threading.Thread(target=copy, args=(far, near), daemon=True).start()
    copy(near, far)
door = socket.create_server(("127.0.0.1", port + 20000))
while True:
    threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()
END
systemd-run --quiet --collect --unit=between --uid=nobody python3 /run/between.py PORT HOW
for _ in $(seq 50); do ss -Hltn | grep -q ":$((PORT + 20000)) " && break; sleep 0.1; done
nft 'add table ip proof; add chain ip proof out { type nat hook output priority -100; }'
nft add rule ip proof out ip daddr 127.0.0.1 tcp dport PORT meta skuid != nobody redirect to :$((PORT + 20000))
"""


def _between(name, port, how, state, also=()):
    breaks = BETWEEN.replace("PORT", str(port)).replace("HOW", how)
    return Proof(f"certificate-{name}", breaks, f"port {port}: issued by CN=box.example.com: self-signed", state,
                 also=("certificate-everywhere", *also), by_hand=delete_the_rules, after="systemctl stop between")  # fmt: skip


PORTS = [
    _between("smtp", 25, "starttls", "failed", ("tlsa",)),
    _between("submission", 587, "starttls", "warning", ("tlsa-clients",)),
    _between("submissions", 465, "implicit", "failed", ("tlsa-clients",)),
    _between("imaps", 993, "implicit", "failed", ("tlsa-clients",)),
    _between("pop3s", 995, "implicit", "warning"),
    _between("managesieve", 4190, "starttls", "warning"),
]

# What the certs role keeps when the authority has refused a name three times.
REFUSED = """
python3 - <<'END'
import json, pathlib, time
file = pathlib.Path("/var/lib/mailstead/certs/ledger.json")
ledger, now = json.loads(file.read_text()), int(time.time())
why = "no valid A records found"
ledger["failures"] = {"autoconfig.example.com": {"count": 3, "last": now - 60, "why": why, "again": now + 3600}}
file.write_text(json.dumps(ledger))
END
"""
# The time that the authority suggested was a week ago.
OVERDUE = """
python3 - <<'END'
import json, pathlib, time
file = pathlib.Path("/var/lib/mailstead/certs/window.json")
window = json.loads(file.read_text())
window["start"], window["end"] = int(time.time()) - 7 * 86400, int(time.time()) - 6 * 86400
file.write_text(json.dumps(window))
END
"""

RENEWAL = [
    Proof("certificate-failures", REFUSED, "autoconfig.example.com: refused 3 times in a row: no valid A records", "warning",
          remedy=("mailstead certificate renew",)),
    Proof("certificate-renewal", OVERDUE, r"due at .*, as its authority suggests \(ARI\)", "warning", mend=True),
]  # fmt: skip

ALL = [*PORTS, *RENEWAL]
