"""A certificate authority of the world's own, for its own servers (the ACME directory, the peer's mail)."""

import tempfile
from pathlib import Path

from .shell import run


class Authority:
    """Keeps `ca.pem` and `ca.key` in a folder."""

    def __init__(self, folder):
        self._folder = folder
        self.certificate = folder / "ca.pem"

    def create(self):
        self._folder.mkdir(parents=True, exist_ok=True)
        run([
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "365", "-subj", "/CN=Small Internet Root", "-keyout", self._folder / "ca.key",
            "-out", self.certificate, "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        ])  # fmt: skip

    def issue(self, name, certificate, key):
        """Writes a certificate for one DNS name, and its key."""
        with tempfile.TemporaryDirectory() as scratch:
            request, extensions = Path(scratch, "request"), Path(scratch, "extensions")
            extensions.write_text(
                f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\n"
                "basicConstraints=critical,CA:FALSE\n"
            )
            run([
                "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-subj", f"/CN={name}", "-keyout", key, "-out", request,
            ])  # fmt: skip
            run([
                "openssl", "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._folder / "ca.key",
                "-days", "200", "-extfile", extensions, "-out", certificate,
            ])  # fmt: skip


def trust(root, name, certificate_text):
    """Adds a root certificate to a Debian root folder's store, as update-ca-certificates would."""
    local = root / "usr/local/share/ca-certificates" / f"{name}.crt"
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_text(certificate_text)
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.write_text(bundle.read_text() + certificate_text)
    link = root / f"etc/ssl/certs/{name}.pem"
    link.unlink(missing_ok=True)
    link.symlink_to(f"/usr/local/share/ca-certificates/{name}.crt")
    digest = run(["openssl", "x509", "-hash", "-noout"], input=certificate_text).out.strip()
    for number in range(10):
        hashed = root / f"etc/ssl/certs/{digest}.{number}"
        if not hashed.is_symlink():
            hashed.symlink_to(f"{name}.pem")
            break
