"""install.sh on a fresh host: a good release is put in place, and nothing but a good release ever is.

The program inside these releases is a small shell script, so nothing needs to be built.
"""

import hashlib
import re

import pytest

from small_internet import releases
from small_internet.settings import CHECKOUT

URL = "http://releases.mailstead.org"
PROGRAM = b"""#!/bin/sh
echo "this is version $(basename "$(dirname "$0")"), called with: $*"
[ "$1" = setup ] && { printf 'Your name? '; read -r name && echo "hello $name"; }
"""


@pytest.fixture(scope="module")
def box(world):
    """One box for all: each test must leave /opt as it found it, or says that it does not."""
    yield world.box("box")
    world.remove("box")


@pytest.fixture
def mirror(world, box, signer):
    """The release server's folder with a good release 1.2.0 in it, and a box without any."""
    host = world.host("releases")
    folder = host.path("/srv/www/releases")
    host.run("rm -rf /srv/www/releases && mkdir /srv/www/releases")
    releases.pack(folder, signer, "1.2.0", PROGRAM)
    host.path("/srv/www/install.sh").write_text((CHECKOUT / "install.sh").read_text())
    box.run("rm -rf /opt/mailstead")
    return folder


def command(*arguments, env="", version=""):
    chosen = f"MAILSTEAD_VERSION={version}" if version else ""
    settings = f"MAILSTEAD_RELEASES={URL}/releases MAILSTEAD_PUBKEY=/root/key.pem {chosen} {env}"
    return f"curl -fsSL {URL}/install.sh | {settings} bash -s -- {' '.join(arguments)}"


@pytest.fixture
def install(box, mirror, signer):
    """Runs the install line in the box: `install(*arguments, env=, version=)`."""
    box.write("/root/key.pem", signer.public)

    def run(*arguments, **how):
        return box.run(command(*arguments, **how), check=False, timeout=60)

    return run


def everything(box):
    return box.listing("/opt", "/etc", "/usr/local", "/root", "/var/lib")


@pytest.fixture
def refused(box, install):
    """Asserts that the install line fails with one line that has the given words, and changes nothing."""

    def check(words, **how):
        before, scratch = everything(box), box.run("ls /tmp").out
        result = install("--no-setup", **how)
        assert result.code not in (0, 127), result
        said = [line for line in result.err.splitlines() if line.strip()]
        assert len(said) == 1 and said[0].startswith("mailstead: "), result
        assert re.search(words, said[0]), result
        assert everything(box) == before
        assert box.run("ls /tmp").out == scratch

    return check


def installed(box):
    return box.run("ls -A /opt/mailstead/releases 2>/dev/null || true", check=False).out.split()


def test_a_good_release_is_put_in_place(box, install):
    result = install("--no-setup")
    assert result.ok and result.err == "", result
    assert installed(box) == ["1.2.0"]
    assert "/opt/mailstead/releases/1.2.0/mailstead setup" in result.out
    assert box.run("stat", "-c", "%a %U:%G", "/opt/mailstead/releases/1.2.0/mailstead").out == "755 root:root\n"


def test_the_same_release_again_changes_nothing(box, install):
    install("--no-setup")
    before = box.run("find /opt -printf '%p %i %T@\\n' | sort").out
    assert install("--no-setup").ok
    assert box.run("find /opt -printf '%p %i %T@\\n' | sort").out == before


def test_a_damaged_program_is_replaced_by_the_same_release(box, install):
    install("--no-setup")
    box.run("echo damage >> /opt/mailstead/releases/1.2.0/mailstead")
    assert install("--no-setup").ok
    assert box.read_bytes("/opt/mailstead/releases/1.2.0/mailstead") == PROGRAM
    assert installed(box) == ["1.2.0"]


def test_setup_asks_on_the_terminal_though_the_script_comes_by_pipe(box, install):
    with box.terminal(command("--dns", "box")) as terminal:
        terminal.answer("Your name\\? ", "Jane")
        terminal.expect("hello Jane")
        assert terminal.wait() == 0
        assert "this is version 1.2.0, called with: setup --dns box" in terminal.seen


def test_setup_without_a_terminal_gets_no_answers_from_the_script_itself(box, install):
    result = install("--yes")
    assert "called with: setup --yes" in result.out
    assert "hello" not in result.out


def test_a_folder_serves_as_a_mirror(box, mirror, install):
    box.run("mkdir -p /root/mirror")
    for file in [mirror / "latest", *(mirror / "1.2.0").iterdir()]:
        box.copy_in(file, f"/root/mirror/{file.relative_to(mirror)}")
    try:
        assert install("--no-setup", env="MAILSTEAD_RELEASES=/root/mirror").ok
        assert installed(box) == ["1.2.0"]
    finally:
        box.run("rm -rf /root/mirror")


def test_wget_serves_where_there_is_no_curl(box, mirror, install):
    box.run("mkdir /root/bin && cd /root/bin && for t in /usr/bin/* ; do ln -s $t; done && rm curl")
    # Not on a fresh Debian: a stand-in with wget's options, so that the other branch is walked at all.
    box.write(
        "/root/bin/wget",
        '#!/bin/bash\nwhile [ $# -gt 0 ]; do case $1 in -O) to=$2; shift;; -q|--) ;; --*) ;; *) from=$1;; esac; shift; '
        'done\nexec /usr/bin/curl -fsS -o "$to" "$from"\n',
        0o755,
    )
    try:
        assert install("--no-setup", env="PATH=/root/bin").ok
    finally:
        box.run("rm -r /root/bin")


def test_a_wrong_signature_is_refused(mirror, signer, refused, tmp_path):
    other = releases.Signer(tmp_path)
    other.sign(mirror / "1.2.0/manifest")
    refused("signature of release 1.2.0 .* is wrong")


def test_a_damaged_signature_is_refused(mirror, refused):
    (mirror / "1.2.0/manifest.sig").write_bytes(b"\0" * 64)
    refused("signature")
    (mirror / "1.2.0/manifest.sig").write_bytes(b"")
    refused("signature")


def test_a_manifest_changed_after_signing_is_refused(mirror, refused):
    manifest = mirror / "1.2.0/manifest"
    manifest.write_text(manifest.read_text().replace("x86_64", "aarch64"))
    refused("signature")


def test_the_key_in_the_script_refuses_what_others_signed(refused):
    refused("signature", env="MAILSTEAD_PUBKEY=")


def test_a_truncated_artifact_is_refused(mirror, refused):
    artifact = mirror / "1.2.0/mailstead-1.2.0-x86_64.tar.gz"
    artifact.write_bytes(artifact.read_bytes()[:-20])
    refused("instead of")


def test_a_longer_artifact_is_refused(mirror, refused):
    artifact = mirror / "1.2.0/mailstead-1.2.0-x86_64.tar.gz"
    artifact.write_bytes(artifact.read_bytes() + b"more")
    refused("instead of")


def test_an_artifact_of_the_same_size_with_other_content_is_refused(mirror, refused):
    artifact = mirror / "1.2.0/mailstead-1.2.0-x86_64.tar.gz"
    content = artifact.read_bytes()
    artifact.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused("SHA-256")


def test_an_archive_with_anything_but_the_program_is_refused(mirror, signer, refused):
    packed = releases.archive(PROGRAM, "../../../etc/cron.d/mailstead")
    name = "mailstead-1.2.0-x86_64.tar.gz"
    (mirror / "1.2.0" / name).write_bytes(packed)
    digest = hashlib.sha256(packed).hexdigest()
    text = f"mailstead-release 1\nversion 1.2.0\nartifact x86_64 {name} {len(packed)} {digest}\n"
    releases.write_manifest(mirror / "1.2.0", signer, text)
    refused("one program")


def test_a_download_that_never_ends_is_cut(mirror, refused):
    with open(mirror / "latest", "wb") as file:
        file.truncate(1 << 30)
    refused("can't fetch .*latest|larger than")


def test_an_older_release_under_a_newer_name_is_refused(mirror, refused):
    (mirror / "1.2.0").rename(mirror / "1.3.0")
    (mirror / "latest").write_text("1.3.0\n")
    refused("belongs to another release")


def test_what_is_no_version_is_refused(mirror, refused):
    for name in ("../../etc", "1.2", "<html>", ""):
        (mirror / "latest").write_text(name + "\n")
        refused("not a version number")


def test_a_release_that_is_not_there_is_refused(refused):
    refused("can't fetch .*9.9.9/manifest", version="9.9.9")


def test_a_server_that_does_not_answer_is_refused(refused):
    refused("can't fetch", env="MAILSTEAD_RELEASES=http://releases.mailstead.org:81")


def test_a_downgrade_is_refused_unless_asked_for(box, mirror, signer, install, refused):
    releases.pack(mirror, signer, "1.10.0", PROGRAM)
    assert install("--no-setup").ok
    box.run("ln -s releases/1.10.0 /opt/mailstead/current")
    (mirror / "latest").write_text("1.2.0\n")
    refused("older than the installed 1.10.0")
    assert install("--no-setup", version="1.2.0").ok
    assert installed(box) == ["1.10.0", "1.2.0"]


def test_an_upgrade_is_installed_beside_the_old_release(box, mirror, signer, install):
    assert install("--no-setup").ok
    box.run("ln -s releases/1.2.0 /opt/mailstead/current")
    releases.pack(mirror, signer, "1.10.0", PROGRAM)
    assert install("--no-setup").ok
    assert installed(box) == ["1.10.0", "1.2.0"]


def test_an_unsupported_system_is_refused(box, refused):
    original = box.read("/etc/os-release")
    box.run("cp --remove-destination /usr/lib/os-release /etc/os-release")
    try:
        for text in ('ID=ubuntu\nVERSION_ID="22.04"\n', 'ID=fedora\nVERSION_ID=43\n', 'ID=debian\n', ""):
            box.write("/etc/os-release", text)
            refused("this system is .*Ubuntu 24.04 or 26.04 and Debian 12 or 13")
        box.write("/etc/os-release", 'ID=ubuntu\nVERSION_ID="26.04"\n')
        refused("can't fetch", version="9.9.9")  # past the check of the system
    finally:
        box.write("/etc/os-release", original)


def test_an_unsupported_architecture_is_refused(box, refused):
    box.write("/usr/local/bin/uname", '#!/bin/sh\n[ "$1" = -m ] && echo riscv64 || exec /usr/bin/uname "$@"\n', 0o755)
    try:
        refused("riscv64; there are releases for x86_64 and aarch64")
    finally:
        box.run("rm /usr/local/bin/uname")


def test_a_release_without_this_architecture_is_refused(mirror, signer, refused):
    releases.pack(mirror, signer, "1.2.0", PROGRAM, architectures=("aarch64",))
    refused("nothing for x86_64")


def test_an_ordinary_user_is_refused(box, install):
    before = everything(box)
    result = box.run("runuser -u nobody -- bash -c '" + command() + "'", check=False)
    assert result.code not in (0, 127)
    assert result.err.strip() == "mailstead: this needs root: run it again with sudo"
    assert everything(box) == before


def test_a_script_cut_short_does_nothing(box, install):
    script = (CHECKOUT / "install.sh").read_text()
    before = everything(box)
    for part in (0.2, 0.5, 0.8, 0.95, 1.0):
        cut = script[: int(len(script.rstrip()) * part) - 1]
        result = box.run(
            "env", f"MAILSTEAD_RELEASES={URL}/releases", "bash", input=cut, check=False
        )
        assert "Mailstead" not in result.out, part
        assert everything(box) == before


def test_a_full_disk_leaves_nothing_behind(world, mirror, signer):
    releases.pack(mirror, signer, "1.2.0", PROGRAM + b"# " + b"x" * 30_000_000)
    small = world.box("box2", disk="20m")
    try:
        small.write("/root/key.pem", signer.public)
        before = small.listing("/opt")
        result = small.run(command("--no-setup"), check=False)
        assert not result.ok and len(result.err.strip().splitlines()) == 1, result
        assert result.err.startswith("mailstead: can't"), result
        assert small.listing("/opt") == before
    finally:
        world.remove("box2")


def test_help_says_what_it_does(box, install):
    result = install("--help")
    assert result.ok
    for word in ("SYNOPSIS", "--no-setup", "--demo", "MAILSTEAD_RELEASES", "MAILSTEAD_PUBKEY"):
        assert word in result.out


CARGO = """#!/bin/bash
[ "$1" = --version ] && { echo "cargo 1.${CARGO_MINOR:-95}.0"; exit; }
folder=debug; [[ " $* " = *" --release "* ]] && folder=release
mkdir -p target/$folder
printf '#!/bin/sh\\necho "built by %s with: %s; called by $(id -un) with: $*"\\n' "$(id -un)" "$*" > target/$folder/mailstead
chmod 755 target/$folder/mailstead
"""


@pytest.fixture
def checkout(box):
    """Something like a checkout of the source, with a stand-in for cargo, a compiler and installed packages."""
    box.run("id jane >/dev/null 2>&1 || useradd -m jane")
    box.write("/home/jane/mailstead/install.sh", (CHECKOUT / "install.sh").read_text(), 0o755)
    box.write("/home/jane/mailstead/Cargo.toml", '[workspace.package]\nversion = "3.1.4"\n')
    box.write("/usr/local/bin/cargo", CARGO, 0o755)
    box.write("/usr/local/bin/cc", "#!/bin/sh\n", 0o755)
    box.write("/usr/local/bin/dpkg-query", "#!/bin/sh\necho install ok installed\n", 0o755)
    box.run("mkdir -p /home/jane/mailstead/src/mailstead && chown -R jane /home/jane && rm -rf /opt/mailstead")
    yield "/home/jane/mailstead"
    box.run("userdel -r jane; rm -rf /usr/local/bin/cargo /usr/local/bin/cc /usr/local/bin/dpkg-query", check=False)


def test_a_checkout_is_built_and_installed(box, checkout):
    result = box.run(f"cd {checkout} && ./install.sh --yes")
    assert "built by root with: build --release --locked --ignore-rust-version;" in result.out
    assert "called by root with: setup --yes" in result.out
    assert installed(box) == ["3.1.4"]


def test_a_checkout_is_built_as_the_user_who_called_sudo(box, checkout):
    result = box.run(f"cd / && SUDO_USER=jane MAILSTEAD_PROFILE=dev {checkout}/install.sh --yes")
    assert "built by jane with: build --locked --ignore-rust-version;" in result.out
    assert "called by root with: setup --yes" in result.out


def test_the_demo_runs_as_an_ordinary_user(box, checkout):
    result = box.run(f"cd {checkout} && SUDO_USER=jane ./install.sh --demo /tmp/demo")
    assert "called by jane with: demo /tmp/demo" in result.out
    result = box.run(f"cd {checkout} && runuser -u jane -- ./install.sh --demo /tmp/demo")
    assert "called by jane with: demo /tmp/demo" in result.out
    assert installed(box) == []


def test_an_old_compiler_is_refused(box, checkout):
    result = box.run(f"cd {checkout} && CARGO_MINOR=94 ./install.sh --yes", check=False)
    assert not result.ok
    assert result.err.startswith("mailstead: building needs Rust 1.95 or newer"), result
    assert installed(box) == []


def test_the_demo_without_a_checkout_says_what_it_needs(install):
    result = install("--demo")
    assert not result.ok and "needs a checkout" in result.err
