"""Answers and machines that set-up must refuse: one clear sentence, and nothing has changed."""

import re

import pytest

from small_internet import product

GOOD = {"--email": "owner@example.com", "--hostname": "box.example.com", "--dns": "box"}


@pytest.fixture(scope="module")
def box(world):
    """A box with the release in place and no set-up done; no test here may change it."""
    yield world.box("box4")
    world.remove("box4")


@pytest.fixture
def owner(world, mirror, signer, box):
    """Its owner; the release is installed once."""
    owner = product.Owner(world, box)
    owner.at_the_provider()
    if not box.path("/opt/mailstead").exists():
        owner.put_key(signer)
        owner.install("--no-setup")
    return owner


def set_up(owner, box, answers, extra=("--yes",)):
    words = [word for pair in answers.items() if pair[1] is not None for word in pair]
    program = f"/opt/mailstead/releases/{product.version()}/mailstead"
    return box.run(program, "setup", *words, *extra, env=owner.environment(), check=False, timeout=120)


def changed(box):
    packages = box.run("dpkg-query", "-W").out
    return box.listing("/etc", "/opt", "/usr/local", "/root", "/var/lib/mailstead") + packages


def refused(owner, box, words, **answers):
    before = changed(box)
    result = set_up(owner, box, {**GOOD, **{f"--{name}": value for name, value in answers.items()}})
    assert result.code not in (0, 101, 127), result
    assert re.search(words, result.text, re.I), result
    assert "panicked" not in result.text and "RUST_BACKTRACE" not in result.text
    assert changed(box) == before
    return result


@pytest.mark.parametrize("email", ["owner", "owner@", "@example.com", "owner@example", "ow ner@example.com"])
def test_what_is_no_email_address_is_refused(owner, box, email):
    result = refused(owner, box, "email", email=email)
    assert len(result.err.strip().splitlines()) == 1, result


@pytest.mark.parametrize("hostname", ["box", "-box.example.com", "box..example.com", "box_1.example.com"])
def test_what_is_no_hostname_is_refused(owner, box, hostname):
    result = refused(owner, box, "hostname", hostname=hostname)
    assert len(result.err.strip().splitlines()) == 1, result


@pytest.mark.parametrize("flag", ["email", "hostname", "dns"])
def test_without_a_terminal_a_missing_answer_is_named(owner, box, flag):
    before = changed(box)
    result = set_up(owner, box, {**GOOD, f"--{flag}": None}, extra=())
    assert not result.ok and f"--{flag}" in result.text, result
    assert changed(box) == before


@pytest.mark.parametrize("port", [25, 443, 993])
def test_a_port_in_use_is_named(owner, box, port):
    box.run("systemd-run", "-q", "--unit=squatter", "python3", "-m", "http.server", str(port))
    try:
        box.run(f"for i in $(seq 50); do ss -Hltn | grep -q ':{port} ' && exit 0; sleep 0.1; done; exit 1")
        refused(owner, box, rf"port {port}\b|\b{port}\b.*in use")
    finally:
        box.run("systemctl", "stop", "squatter")


def test_a_small_disk_is_refused(world, mirror, signer):
    small = world.box("box5", disk="1500m")
    try:
        owner = product.Owner(world, small)
        owner.put_key(signer)
        owner.at_the_provider()
        owner.install("--no-setup")
        refused(owner, small, "disk|space")
    finally:
        world.remove("box5")


def test_a_listing_on_a_blocklist_is_told(world, owner, box):
    world.names.blocklist(box.ipv4)
    box.run("systemd-run", "-q", "--unit=squatter", "python3", "-m", "http.server", "993")  # so that it goes no further
    try:
        refused(owner, box, "blocklist|listed|spamhaus")
    finally:
        box.run("systemctl", "stop", "squatter")
        world.names.blocklist(box.ipv4, None)


def test_bad_answers_are_asked_again_on_a_terminal(owner, box):
    before = changed(box)
    program = f"/opt/mailstead/releases/{product.version()}/mailstead"
    with box.terminal(program, "setup", env=owner.environment()) as terminal:
        terminal.answer("(?i)e-?mail address", "owner")
        terminal.answer("(?is)(not|no|needs|must|invalid|@).*e-?mail address", "owner@example.com")
        terminal.expect("(?i)hostname")
    assert changed(box) == before
