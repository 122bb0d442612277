"""Fixtures: one small internet per test run, and boxes in it."""

import fcntl
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from small_internet import images, product, releases, settings  # noqa: E402
from small_internet.shell import WorldError  # noqa: E402
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


# --- Mailstead in the small internet


@pytest.fixture(scope="session")
def signer(tmp_path_factory):
    """The key pair that signs this run's releases."""
    return releases.Signer(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def program(world):
    try:
        return product.binary()
    except WorldError as error:
        pytest.fail(str(error))


@pytest.fixture
def mirror(world, signer, program):
    """The release server offering the program under test as the checkout's version, and nothing else."""
    offered = product.Mirror(world, signer)
    world.host("releases").run("rm -rf /srv/www/releases")
    offered.publish(product.version())
    return offered


class FirstInstall:
    """What the one full installation of this run left: the owner, what the screen showed, a snapshot of the box."""

    def __init__(self, owner, screen):
        self.owner, self.screen = owner, screen
        self.dirty = False


@pytest.fixture(scope="session")
def first_install(world, signer, program):
    """The install line on a fresh box, the three questions answered on a terminal; then the DS at the registrar."""
    product.Mirror(world, signer).publish(product.version())
    box = world.box("box")
    owner = product.Owner(world, box)
    owner.put_key(signer)
    owner.at_the_provider()
    with owner.install_on_terminal() as terminal:
        terminal.answer("(?i)e-?mail address", owner.email)
        terminal.answer("(?i)hostname", "")  # the default: box.<domain>
        terminal.answer("(?i)name server|DNS", "")  # the default: the box
        terminal.expect("AGE-SECRET-KEY-", 400)
        code = terminal.wait(60)
        screen = terminal.seen
    assert code == 0 and "Not done yet" not in screen, screen + box.journal("mailstead-certs")
    owner.learn(screen)
    owner.wait_for_services()
    owner.enter_ds()
    world.snapshot("box", "installed")
    return FirstInstall(owner, screen)


@pytest.fixture
def settled(world, first_install):
    """The owner of an installed box that runs. Tests may add mail and accounts, but break nothing."""
    owner = first_install.owner
    if first_install.dirty or not owner.box.running:
        world.box("box", snapshot="installed")
        owner.at_the_provider()
        owner.wait_for_services()
        owner.enter_ds()
        first_install.dirty = False
    return owner


@pytest.fixture
def disposable(settled, first_install):
    """The same, for tests that change what others rely on: the next test gets the snapshot again."""
    yield settled
    first_install.dirty = True
