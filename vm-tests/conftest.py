"""Fixtures: one small internet per test run, and boxes in it."""

import fcntl
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from small_internet import images, settings  # noqa: E402
from small_internet.world import World, why_not  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--suite", choices=settings.SUITES, default=settings.DEFAULT_SUITE, help="what boxes run")


def free_world_name():
    """A world's name that no other test run uses; the lock goes with this process."""
    (settings.CACHE / "worlds").mkdir(parents=True, exist_ok=True)
    for number in range(1, 10):
        lock = open(settings.CACHE / "worlds" / f"test{number}.lock", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return f"test{number}", lock
    raise RuntimeError("nine test runs at once are enough")


@pytest.fixture(scope="session")
def world(request):
    """The small internet, without a box. Everything of it ends with the run, however the run ends."""
    reason = why_not()
    if reason:
        message = f"whole hosts can't be booted here: {reason}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    suite = request.config.getoption("--suite")
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text):
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", flush=True)

    images.install_tools(say)
    name, lock = free_world_name()
    the_world = World(name, say)
    the_world.down()  # what a killed run may have left
    try:
        the_world.up(suite, box=False)
        yield the_world
    finally:
        the_world.down()
        lock.close()


@pytest.fixture
def fresh_box(world):
    """A pristine box named `box`, of this test alone."""
    yield world.box("box")
    world.remove("box")
