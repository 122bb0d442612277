"""A Debian repository of the few packages that a box installs, made of files downloaded beforehand.

Boxes ask for `http://deb.debian.org/debian` as any Debian host does; in the small internet that name leads to the
`releases` host, which serves these folders.
"""

import hashlib
import os
import shutil
from email.utils import formatdate
from pathlib import Path

from . import settings
from .shell import run


def repository(image):
    """The folder of the repository that belongs to a box image."""
    return image.with_name(image.name + ".packages")


def download(root, suite, repository_folder):
    """Downloads the installable packages and all they need beyond `root`, and makes the index."""
    new = repository_folder.with_name(repository_folder.name + ".new")
    run(["rm", "-rf", new])
    pool = new / "pool" / suite
    pool.mkdir(parents=True)
    _fetch(root, suite, pool)
    architecture = run(["dpkg", "--print-architecture"]).out.strip()
    _index(new, suite, architecture, sorted(pool.glob("*.deb")))
    for extra in (f"{suite}-updates", f"{suite}-security"):
        _index(new, extra, architecture, [])
    run(["rm", "-rf", repository_folder])
    new.rename(repository_folder)


def _fetch(root, suite, pool):
    archives = root / "var/cache/apt/archives"
    resolv = root / "etc/resolv.conf"
    kept = resolv.read_text()
    sources = root / "etc/apt/sources.list"
    resolv.write_text(Path("/etc/resolv.conf").read_text())
    sources.write_text(f"deb {settings.MIRROR} {suite} main\n")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")
    try:
        run(["chroot", root, "apt-get", "update", "-q"], timeout=180, env=env)
        for package in settings.BOX_INSTALLABLE:  # one by one: chrony and timesyncd exclude each other
            options = ["-y", "-q", "--download-only", "-o", "APT::Keep-Downloaded-Packages=true"]
            run(["chroot", root, "apt-get", "install", *options, package], timeout=300, env=env)
        for deb in archives.glob("*.deb"):
            shutil.move(deb, pool / deb.name)
    finally:
        resolv.write_text(kept)
        sources.unlink()
        for lists in (root / "var/lib/apt/lists").iterdir():
            if lists.is_file():
                lists.unlink()
        for cache in (root / "var/cache/apt").glob("*.bin"):
            cache.unlink()


def _index(folder, suite, architecture, debs):
    dists = folder / "dists" / suite
    binary = dists / "main" / f"binary-{architecture}"
    binary.mkdir(parents=True)
    stanzas = [_stanza(folder, deb) for deb in debs]
    (binary / "Packages").write_text("\n".join(stanzas))
    content = (binary / "Packages").read_bytes()
    security = suite.endswith("-security")
    (dists / "Release").write_text(
        "Origin: Debian\n"
        f"Label: {'Debian-Security' if security else 'Debian'}\n"
        f"Suite: {'stable-security' if security else 'stable'}\n"
        f"Codename: {suite}\n"
        f"Date: {formatdate(usegmt=True)}\n"
        f"Architectures: {architecture}\n"
        "Components: main\n"
        "SHA256:\n"
        f" {hashlib.sha256(content).hexdigest()} {len(content)} main/binary-{architecture}/Packages\n"
    )


def _stanza(folder, deb):
    control = run(["dpkg-deb", "--field", deb]).out.rstrip("\n")
    content = deb.read_bytes()
    return (
        f"{control}\nFilename: {deb.relative_to(folder)}\nSize: {len(content)}\n"
        f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
    )
