"""Debian root folders made with mmdebstrap, kept in the cache and used read-only below an overlay.

A name contains a hash of what the image is made of, so a change of the list makes a new one. An image appears
under its name only when it is complete.
"""

import fcntl
import hashlib
import os
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from . import packages, settings
from .shell import WorldError, run

BOX_SOURCES = """\
Types: deb
URIs: http://deb.debian.org/debian
Suites: {suite} {suite}-updates
Components: main
Trusted: yes

Types: deb
URIs: http://security.debian.org/debian-security
Suites: {suite}-security
Components: main
Trusted: yes
"""


def _name(kind, suite, package_list):
    recipe = f"{settings.RECIPE} {kind} {suite} {' '.join(package_list)} {os.uname().machine}"
    return f"{kind}-{suite}-{hashlib.sha256(recipe.encode()).hexdigest()[:10]}"


def box_image(suite):
    wanted = settings.BOX_PACKAGES + settings.BOX_INSTALLABLE
    return settings.CACHE / "images" / _name("box", suite, wanted)


def net_image():
    return settings.CACHE / "images" / _name("net", settings.NET_SUITE, settings.NET_PACKAGES)


def prepared(suite):
    return box_image(suite).is_dir() and net_image().is_dir() and packages.repository(box_image(suite)).is_dir()


def install_tools(say):
    """Installs the Debian packages that this machine needs for the small internet, if any is missing."""
    missing = [pkg for tool, pkg in settings.TOOLS.items() if not (Path(tool).exists() or shutil.which(tool))]
    if not missing:
        return
    say(f"installing {' '.join(missing)}")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    if not run(install, timeout=300, check=False, env=env).ok:
        run(["apt-get", "update", "-q"], timeout=120, env=env)
        run(install, timeout=300, env=env)


@contextmanager
def _locked():
    settings.CACHE.mkdir(parents=True, exist_ok=True)
    with open(settings.CACHE / "prepare.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare(suites=settings.SUITES, say=print, rebuild=False):
    """Builds what is missing of the images of `suites` and the one of the other hosts, side by side."""
    if os.geteuid() != 0:
        raise WorldError("the small internet needs root: it makes namespaces and mounts")
    install_tools(say)
    began = time.monotonic()
    with _locked():
        jobs = [(f"box image {suite}", _prepare_box, (suite, rebuild)) for suite in suites]
        jobs.append(("image of the other hosts", _prepare_net, (rebuild,)))
        _side_by_side(jobs, say)
        _drop_old()
    say(f"images are ready ({time.monotonic() - began:.0f} s), in {settings.CACHE}")


def _side_by_side(jobs, say):
    failures = []

    def work(title, function, arguments):
        began = time.monotonic()
        try:
            made = function(*arguments, say)
        except WorldError as error:
            failures.append(f"{title}: {error}")
        else:
            say(f"{title}: " + (f"made in {time.monotonic() - began:.0f} s" if made else "there already"))

    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise WorldError("\n".join(failures))


def _prepare_box(suite, rebuild, say):
    image = box_image(suite)
    repository = packages.repository(image)
    if image.is_dir() and repository.is_dir() and not rebuild:
        return False
    say(f"box image {suite}: building")
    made = _bootstrap(image, suite, settings.BOX_PACKAGES)
    (made / "etc/apt/sources.list").unlink(missing_ok=True)
    say(f"packages for {suite}: downloading")
    packages.download(made, suite, repository)
    (made / "etc/apt/sources.list.d/debian.sources").write_text(BOX_SOURCES.format(suite=suite))
    _put_in_place(made, image)
    return True


def _prepare_net(rebuild, say):
    image = net_image()
    if image.is_dir() and not rebuild:
        return False
    say("image of the other hosts: building")
    made = _bootstrap(image, settings.NET_SUITE, settings.NET_PACKAGES)
    _put_in_place(made, image)
    return True


def _bootstrap(image, suite, package_list):
    made = image.with_name(image.name + ".new")
    run(["rm", "-rf", made])
    image.parent.mkdir(parents=True, exist_ok=True)
    options = [
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(package_list)}",
        "--aptopt=Acquire::Languages \"none\"",
        "--aptopt=Acquire::Retries \"3\"",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=force-unsafe-io",
    ]
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    run(["mmdebstrap", *options, suite, made, settings.MIRROR], timeout=settings.IMAGE_TIMEOUT, env=env)
    for leftover in ("99mmdebstrap",):
        (made / "etc/apt/apt.conf.d" / leftover).unlink(missing_ok=True)
    for leftover in ("99mmdebstrap",):
        (made / "etc/dpkg/dpkg.cfg.d" / leftover).unlink(missing_ok=True)
    (made / "etc/hostname").write_text("debian\n")
    (made / "etc/machine-id").write_text("")
    (made / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
    resolv = made / "etc/resolv.conf"
    resolv.unlink(missing_ok=True)
    resolver = settings.SERVICE_HOSTS["resolver"]
    resolv.write_text(f"nameserver {resolver.ipv4}\nnameserver {resolver.ipv6}\noptions trust-ad timeout:2\n")
    return made


def _put_in_place(made, image):
    if image.exists():
        run(["rm", "-rf", image])
    made.rename(image)


def _drop_old():
    """Removes images of former recipes, unless a running world still has one below its overlays."""
    keep = {box_image(suite).name for suite in settings.SUITES} | {net_image().name}
    mounts = Path("/proc/self/mounts").read_text()
    for folder in (settings.CACHE / "images").iterdir():
        name = folder.name.removesuffix(".packages")
        if name not in keep and str(folder) not in mounts:
            run(["rm", "-rf", folder])
