"""Releases as install.sh expects them: a manifest, its Ed25519 signature, and one archive per architecture.

Every step can be done wrongly on purpose; the tests of install.sh do.
"""

import hashlib
import io
import tarfile
from pathlib import Path

from .shell import run


class Signer:
    """A key pair of the tests' own."""

    def __init__(self, folder):
        self.private = Path(folder) / "release.key"
        if not self.private.exists():
            run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.private])
        self.public = run(["openssl", "pkey", "-in", self.private, "-pubout"]).out

    def sign(self, file):
        signature = Path(f"{file}.sig")
        run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.private, "-in", file, "-out", signature])
        return signature


def archive(content, name="mailstead"):
    """The bytes of a .tar.gz with one program in it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def pack(releases, signer, version, program, architectures=("x86_64", "aarch64"), latest=True):
    """Writes the release `version` below the folder `releases`; returns its folder. `program`: bytes or a file."""
    content = program if isinstance(program, bytes) else Path(program).read_bytes()
    folder = Path(releases) / version
    folder.mkdir(parents=True, exist_ok=True)
    packed = archive(content)
    lines = ["mailstead-release 1", f"version {version}"]
    for architecture in architectures:
        name = f"mailstead-{version}-{architecture}.tar.gz"
        (folder / name).write_bytes(packed)
        lines.append(f"artifact {architecture} {name} {len(packed)} {hashlib.sha256(packed).hexdigest()}")
    write_manifest(folder, signer, "\n".join(lines) + "\n")
    if latest:
        (Path(releases) / "latest").write_text(version + "\n")
    return folder


def write_manifest(folder, signer, text):
    """Writes and signs a manifest."""
    (folder / "manifest").write_text(text)
    signer.sign(folder / "manifest")
