"""The command line: accounts, aliases, and mistakes."""

import imaplib
import socket
import subprocess

import pytest
from outside.letters import letter, token


def mistake(done, *words, code=1):
    """A refusal is one line that says what is wrong, and an exit code."""
    assert done.returncode == code, done
    assert done.stderr.startswith("mailstead: ") and done.stderr.count("\n") == 1, done.stderr
    assert "panicked" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_an_account_from_its_first_day_to_its_last(box):
    address = f"{token('dora')}@demo.example"
    said = box.run("user", "add", address).stdout
    password = said.split("Password: ")[1].split()[0]
    assert address in [user["address"] for user in box.json("user", "list")]
    box.imap(address, password).logout()
    new = box.run("user", "password", address).stdout.split("Password: ")[1].split()[0]
    with pytest.raises(imaplib.IMAP4.error):
        box.imap(address, password)
    box.imap(address, new).logout()
    box.deliver(letter(token()), to=address)
    box.run("user", "remove", address)
    assert address not in [user["address"] for user in box.json("user", "list")]
    with pytest.raises(imaplib.IMAP4.error):
        box.imap(address, new)
    retired = box.folder / "var/lib/mailstead/mail/.retired"
    assert [path for path in retired.rglob("*") if path.is_file() and "Maildir" in path.parts]


def test_an_address_that_comes_back_does_not_get_the_old_mail(box):
    address = f"{token('eve')}@demo.example"
    password = box.add_user(address)
    box.deliver(letter("private"), to=address)
    box.run("user", "remove", address)
    box.add_user(address, password)
    assert not box.messages(login=address, password=password)


@pytest.mark.parametrize(
    "words, said",
    [
        (["user", "add", "ann@demo.example"], "ann@demo.example"),
        (["user", "remove", "nobody@demo.example"], "nobody@demo.example"),
        (["user", "password", "nobody@demo.example"], "nobody@demo.example"),
        (["user", "remove", "ann@demo.example"], "ann@demo.example"),
        (["alias", "add", "x@demo.example", "nobody@demo.example"], "nobody@demo.example"),
        (["alias", "add", "ann@demo.example", "ann@demo.example"], "ann@demo.example"),
        (["alias", "remove", "nothing@demo.example"], "nothing@demo.example"),
        (["alias", "remove", "postmaster@demo.example"], "postmaster@demo.example"),
        (["dns", "ds", "elsewhere.test"], "elsewhere.test"),
        (["dns", "zone", "elsewhere.test"], "elsewhere.test"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_answered_in_one_line(box, words, said):
    mistake(box.run(*words, check=False), said)


@pytest.mark.parametrize("words", [["user", "add", "no-at-sign"], ["user", "frobnicate"], ["alias", "add", "x@demo.example"]])
def test_a_mistyped_command_line_says_what_was_wanted(box, words):
    done = box.run(*words, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: ")


def test_a_short_password_is_refused(box):
    done = box.run("user", "add", f"{token()}@demo.example", "--password-file", "-", check=False, stdin="123\n")
    mistake(done)


def test_a_folder_without_a_box_is_told_so(binary, tmp_path):
    done = subprocess.run([binary, "--box", tmp_path, "user", "list"], capture_output=True, text=True)
    mistake(done, "not a box yet")


def test_an_unknown_line_in_box_yaml_is_named(own_box):
    file = own_box.folder / "etc/mailstead/box.yaml"
    file.write_text(file.read_text() + "spam_level: 5\n")
    mistake(own_box.run("user", "list", check=False), "spam_level", "line")


def test_a_box_that_does_not_run_is_told_so(make_box):
    box = make_box().start()
    box.stop()
    done = box.run("user", "list", check=False)
    mistake(done)


@pytest.mark.parametrize("words", ["user list", "alias list --json", "dns zone", "queue", "--help"])
def test_a_reader_who_leaves_is_no_reason_to_panic(box, binary, words):
    line = f'set -o pipefail; "{binary}" --box "{box.folder}" {words} | true'
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30)
    assert "panicked" not in done.stderr and done.returncode in (0, 141), done


def test_output_that_cannot_be_written_is_an_error(box, binary):
    with open("/dev/full", "w") as full:
        done = subprocess.run([binary, "--box", box.folder, "dns", "zone"], stdout=full, stderr=subprocess.PIPE, text=True)
    mistake(done, "cannot be written")


def test_a_demo_whose_port_is_taken_says_which_and_touches_nothing(make_box):
    box = make_box()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", box.base_port + 3))
        taken.listen()
        command = [box.program, "demo", box.folder, "--base-port", str(box.base_port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    mistake(done, str(box.base_port + 3), "--base-port")
    assert not (box.folder / "endpoints.json").exists() and not (box.folder / "etc/mailstead/box.yaml").exists()
