"""What the other hosts run: resolver, ACME authority, peer mail host, package and release server.

Each function writes configuration into a mounted root before the host starts and returns the shell script that
the host runs. A script ends, and so the host ends, when one of its programs does.
"""

import json
import shlex
from pathlib import Path

from . import settings
from .shell import run

UNBOUND_CONF = """\
server:
    interface: 0.0.0.0
    interface: ::0
    access-control: 0.0.0.0/0 allow
    access-control: ::/0 allow
    directory: "/etc/unbound"
    username: ""
    chroot: ""
    use-syslog: no
    logfile: ""
    num-threads: 1
    do-daemonize: no
    module-config: "validator iterator"
    trust-anchor-file: "/etc/unbound/world-root.key"
    root-hints: "/usr/share/dns/root.hints"
    cache-max-ttl: 2
    cache-min-ttl: 0
    cache-max-negative-ttl: 0
    infra-host-ttl: 2
    aggressive-nsec: no
    val-bogus-ttl: 1
    val-log-level: 2
    edns-buffer-size: 1232
remote-control:
    control-enable: yes
    control-interface: /run/unbound.ctl
"""

PEBBLE_CONF = """\
{"pebble": {"listenAddress": "0.0.0.0:443", "managementListenAddress": "0.0.0.0:15000",
 "certificate": "/etc/pebble/cert.pem", "privateKey": "/etc/pebble/key.pem",
 "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "",
 "profiles": {"default": {"description": "as usual", "validityPeriod": 7776000}},
 "retryAfter": {"authz": 1, "order": 1}}}
"""

POSTFIX_MAIN = """\
compatibility_level = 3.6
myhostname = mail.peer.org
mydomain = peer.org
myorigin = peer.org
mydestination = localhost
mynetworks = 127.0.0.0/8 [::1]/128
inet_interfaces = all
inet_protocols = all
maillog_file = /var/log/postfix.log
virtual_mailbox_domains = peer.org stranger.peer.org
virtual_mailbox_maps = texthash:/etc/postfix/mailboxes
virtual_mailbox_base = /var/mail/peer
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access pcre:/etc/postfix/answers
smtpd_milters = inet:127.0.0.1:8891, inet:127.0.0.1:8893
non_smtpd_milters = inet:127.0.0.1:8891
milter_default_action = tempfail
smtpd_tls_cert_file = /etc/postfix/cert.pem
smtpd_tls_key_file = /etc/postfix/key.pem
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtpd_tls_loglevel = 1
smtp_tls_security_level = dane
smtp_dns_support_level = dnssec
smtp_tls_loglevel = 1
smtp_tls_CAfile = /etc/small-internet/issued-root.pem
smtp_address_preference = any
minimal_backoff_time = 3s
maximal_backoff_time = 5s
queue_run_delay = 2s
message_size_limit = 52428800
mailbox_size_limit = 0
virtual_mailbox_limit = 0
default_destination_concurrency_limit = 10
smtp_connection_cache_on_demand = no
service_throttle_time = 1s
transport_retry_time = 1s
"""

# Who has a mailbox at the peer. Everyone else is an unknown user.
MAILBOXES = ("friend", "other", "postmaster", "abuse", "dmarc", "tlsrpt", "nobody")
POSTFIX_MAILBOXES = "".join(
    f"{user}@{domain} {user}/\n" for user in MAILBOXES for domain in ("peer.org", "stranger.peer.org")
)

# Addresses that answer as their names say.
POSTFIX_ANSWERS = """\
/^later@peer\\.org$/ 450 4.2.0 come back later
/^refused@peer\\.org$/ 550 5.7.1 not wanted here
"""

OPENDKIM_CONF = """\
Mode sv
Domain peer.org
Selector s1
KeyFile /etc/opendkim/s1.private
Canonicalization relaxed/relaxed
Socket inet:8891@127.0.0.1
PidFile /run/opendkim.pid
InternalHosts 127.0.0.1, ::1
AuthservID mail.peer.org
AlwaysAddARHeader yes
UserID root
Syslog no
RequireSafeKeys no
Nameservers {resolver}
"""

OPENDMARC_CONF = """\
Socket inet:8893@127.0.0.1
PidFile /run/opendmarc.pid
AuthservID mail.peer.org
TrustedAuthservIDs mail.peer.org
SPFSelfValidate true
SPFIgnoreResults true
RejectFailures true
IgnoreAuthenticatedClients true
IgnoreHosts /etc/opendmarc/ignore
Syslog false
PublicSuffixList /usr/share/publicsuffix/public_suffix_list.dat
"""

DOVECOT_CONF = """\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
protocols = imap
log_path = /var/log/dovecot.log
ssl = required
ssl_server_cert_file = /etc/postfix/cert.pem
ssl_server_key_file = /etc/postfix/key.pem
mail_driver = maildir
mail_path = /var/mail/peer/%{user | username}
mail_uid = 5000
mail_gid = 5000
passdb static {
  password = friend-password
}
userdb static {
  fields {
    uid = 5000
    gid = 5000
    home = /var/mail/peer/%{user | username}
  }
}
"""

# Runs each line as a program in the background; the host ends when one of them does.
TOGETHER = "{}\nwait -n\nexit 1\n"


def resolver(host, anchor_line):
    host.path("/etc/unbound/world-root.key").write_text(anchor_line + "\n")
    host.path("/etc/unbound/unbound.conf").write_text(UNBOUND_CONF)
    return "exec unbound -d -c /etc/unbound/unbound.conf"


def acme(host, authority):
    host.path("/etc/pebble").mkdir(parents=True, exist_ok=True)
    authority.issue("acme.authority.org", host.path("/etc/pebble/cert.pem"), host.path("/etc/pebble/key.pem"))
    host.path("/etc/pebble/pebble.json").write_text(PEBBLE_CONF)
    dns = f"{settings.SERVICE_HOSTS['resolver'].ipv4}:53"
    # Answers at once, but refuses a twentieth of the nonces as a real authority may.
    env = "PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=5 PEBBLE_AUTHZREUSE=0"
    return f"exec env {env} pebble -config /etc/pebble/pebble.json -strict -dnsserver {dns}"


def dkim_record(private_key):
    """The quoted strings of a DKIM key record for an RSA key in a PEM file."""
    public = run(["openssl", "pkey", "-in", private_key, "-pubout"]).out
    base64 = "".join(line for line in public.splitlines() if "-----" not in line)
    text = f"v=DKIM1; k=rsa; p={base64}"
    return " ".join(f'"{text[i:i + 250]}"' for i in range(0, len(text), 250))


def peer(host, authority, dkim_key):
    etc = host.path("/etc")
    (etc / "postfix/main.cf").write_text(POSTFIX_MAIN)
    (etc / "postfix/mailboxes").write_text(POSTFIX_MAILBOXES)
    (etc / "postfix/answers").write_text(POSTFIX_ANSWERS)
    authority.issue("mail.peer.org", etc / "postfix/cert.pem", etc / "postfix/key.pem")
    (etc / "opendkim").mkdir(exist_ok=True)
    (etc / "opendkim/s1.private").write_bytes(dkim_key.read_bytes())
    resolver_address = settings.SERVICE_HOSTS["resolver"].ipv4
    (etc / "opendkim.conf").write_text(OPENDKIM_CONF.format(resolver=resolver_address))
    (etc / "opendmarc").mkdir(exist_ok=True)
    (etc / "opendmarc.conf").write_text(OPENDMARC_CONF)
    (etc / "opendmarc/ignore").write_text("127.0.0.1\n::1\n")
    (etc / "dovecot/dovecot.conf").write_text(DOVECOT_CONF)
    host.path("/var/mail/peer").mkdir(parents=True, exist_ok=True)
    return TOGETHER.format(
        "chown 5000:5000 /var/mail/peer\n"
        "newaliases\n"
        "opendkim -f -x /etc/opendkim.conf &\n"
        "opendmarc -f -u root -c /etc/opendmarc.conf &\n"
        "postfix start-fg &\n"
        "dovecot -F &"
    )


HTTP_SERVER = """\
import functools, http.server, os, socket, urllib.parse

class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self):
        return self.client_address[0]

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

Server(("::", 80), functools.partial(Handler, directory="/srv/www")).serve_forever()
"""


def releases(host, repositories):
    """Serves /srv/www: `debian/` (every suite's packages), `releases/`, and whatever tests put there."""
    www = host.path("/srv/www")
    for folder in ("debian/dists", "debian/pool", "debian-security/dists", "releases"):
        (www / folder).mkdir(parents=True, exist_ok=True)
    for repository in repositories:
        for suite in (repository / "dists").iterdir():
            kind = "debian-security" if suite.name.endswith("-security") else "debian"
            run(["cp", "-r", suite, www / kind / "dists"])
        for pool in (repository / "pool").iterdir():
            run(["cp", "-rl" if _same_disk(pool, www) else "-r", pool, www / "debian/pool"], check=False)
    host.path("/srv/server.py").write_text(HTTP_SERVER)
    return "exec python3 -u /srv/server.py"


def _same_disk(a, b):
    return a.stat().st_dev == b.stat().st_dev


def laptop(host):
    return "exec sleep infinity"


def awkward(host, authority):
    """Servers that misbehave, each at its own address."""
    folder = host.path("/etc/awkward")
    folder.mkdir(exist_ok=True)
    authority.issue("mx.loses.awkward.org", folder / "cert.pem", folder / "key.pem")
    host.path("/srv/awkward.py").write_text(Path(__file__).with_name("awkward.py").read_text())
    addresses = shlex.quote(json.dumps(settings.AWKWARD))
    return f"exec python3 -u /srv/awkward.py {addresses} /etc/awkward/cert.pem /etc/awkward/key.pem"
