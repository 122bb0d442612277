"""Fixtures: one demo box per test run, the world outside of it, and boxes of their own for tests that break things."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from outside import names, peer  # noqa: E402
from outside.box import Box, program  # noqa: E402


@pytest.fixture(scope="session")
def binary():
    path = program()
    if not path.is_file():
        pytest.fail(f"there is no program to test at {path}: build it with `cargo build`, or set MAILSTEAD_BINARY")
    return path


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The names of the world outside."""
    there = names.Names()
    there.add("peer.test", names.mx(10, "mx.peer.test"), names.txt("v=spf1 ip4:127.0.0.2 -all"))
    there.add("mx.peer.test", names.a(peer.ADDRESS))
    there.add("2.0.0.127.in-addr.arpa", names.ptr("mx.peer.test"))
    there.add("_dmarc.peer.test", names.txt("v=DMARC1; p=none"))
    # A domain that asks everyone to refuse forgeries, and one that takes no mail (RFC 7505).
    there.add("bank.test", names.txt("v=spf1 -all"))
    there.add("_dmarc.bank.test", names.txt("v=DMARC1; p=reject"))
    there.add("silent.test", names.mx(0, "."))
    yield there
    there.close()


@pytest.fixture(scope="session")
def friend(world, tmp_path_factory):
    """The other mail server."""
    server = peer.Peer(tmp_path_factory.mktemp("peer"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def make_box(binary, world, friend, tmp_path_factory):
    """Makes boxes that know the world outside; all of them end with the run."""
    boxes = []

    def make(folder=None, **how):
        options = ["--resolver", f"127.0.0.1:{world.port}", "--remote-smtp-port", friend.port, "--retry-seconds", "2"]
        box = Box(folder or tmp_path_factory.mktemp("box"), binary, *options, **how)
        boxes.append(box)
        return box

    yield make
    for box in boxes:
        box.stop()


@pytest.fixture(scope="session")
def box(make_box, world):
    """The box that most tests share. They may add mail, accounts and domains to it, but break nothing."""
    shared = make_box().start()
    world.zones, world.authority = ("demo.example", "second.example"), shared.at("dns")
    return shared


@pytest.fixture
def own_box(make_box):
    """A box of this test alone."""
    box = make_box()
    yield box.start()
    box.stop()


@pytest.fixture(scope="session")
def bob(box):
    """A second account: its address and password."""
    return "bob@demo.example", box.add_user("bob@demo.example")


def pytest_report_header():
    version = subprocess.run([program(), "--version"], capture_output=True, text=True) if program().is_file() else None
    return f"program under test: {program()} ({version.stdout.strip() if version else 'not built'}), pid {os.getpid()}"
