"""Filter scripts: kept over ManageSieve with sieve-connect, and run on mail that swaks and others send."""

import subprocess

import pytest
from outside.box import eventually
from outside.letters import letter, token

PASSWORD = "a long enough pass phrase"


class Keeper:
    """An account of its own, and sieve-connect for its scripts."""

    def __init__(self, box, folder):
        self.box, self.folder = box, folder
        self.address = f"{token('keeper')}@demo.example"
        box.add_user(self.address, PASSWORD)

    def connect(self, *words, check=True):
        host, port = self.box.at("managesieve")
        command = ["sieve-connect", "--server", host, "--port", str(port), "--user", self.address, "--4"]
        command += ["--tlscafile", self.box.endpoints["ca_file"], "--tlshostname", self.box.hostname, "--passwordfd", "0"]
        command += ["--authmech", "PLAIN", *words]
        done = subprocess.run(command, input=PASSWORD + "\n", capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def use(self, script, name="main"):
        path = self.folder / f"{name}.sieve"
        path.write_text(script)
        self.connect("--upload", "--localsieve", str(path), "--remotesieve", name)
        self.connect("--activate", "--remotesieve", name)

    def mail(self, folder="INBOX"):
        return list(self.box.messages(folder, self.address, PASSWORD).values())

    def deliver(self, subject, body="Hello.\n", **fields):
        self.box.deliver(letter(subject, body, To=self.address, **fields), to=self.address)


@pytest.fixture
def keeper(box, tmp_path):
    return Keeper(box, tmp_path)


def test_sieve_connect_keeps_scripts(keeper):
    keeper.use("keep;\n", "one")
    keeper.use('require "fileinto";\nfileinto "Archive";\n', "two")
    listed = keeper.connect("--list").stdout
    assert '"one"' in listed and '"two" ACTIVE' in listed and '"mailstead-junk"' in listed, listed
    copy = keeper.folder / "copy.sieve"
    keeper.connect("--download", "--remotesieve", "two", "--localsieve", str(copy))
    assert copy.read_text().replace("\r\n", "\n") == 'require "fileinto";\nfileinto "Archive";\n'
    assert keeper.connect("--delete", "--remotesieve", "two", check=False).returncode != 0
    keeper.connect("--deactivate")
    keeper.connect("--delete", "--remotesieve", "two")
    assert '"two"' not in keeper.connect("--list").stdout


def test_a_wrong_script_is_refused_with_its_line(keeper):
    path = keeper.folder / "wrong.sieve"
    path.write_text('require "fileinto";\n\nfileinto;\n')
    done = keeper.connect("--upload", "--localsieve", str(path), "--remotesieve", "wrong", check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "line 3" in said, said
    assert '"wrong"' not in keeper.connect("--list").stdout


def test_mail_is_filed_by_its_list_its_tag_and_its_size(box, keeper):
    keeper.use(
        'require ["fileinto", "mailbox", "envelope", "subaddress", "imap4flags", "variables"];\n'
        'if header :matches "List-Id" "*<*.lists.test>*" { fileinto :create "Lists/${2}"; stop; }\n'
        'if envelope :detail "to" "shop" { addflag "\\\\Seen"; fileinto :create "Shops"; stop; }\n'
        "if size :over 100K { discard; }\n"
    )
    keeper.deliver("on a list", List_Id="Rust <rust.lists.test>")
    box.deliver(letter("an order", To=keeper.address), to=keeper.address.replace("@", "+shop@"))
    keeper.deliver("too large", "x" * 70 + "\n" + ("y" * 70 + "\n") * 2000)
    keeper.deliver("plain")
    assert len(keeper.mail("Lists/rust")) == 1
    (order,) = keeper.mail("Shops")
    assert b"an order" in order
    assert len(keeper.mail()) == 1


def test_mail_is_redirected_elsewhere_and_a_circle_is_cut(box, keeper, friend):
    away = f"{token('away')}@peer.test"
    keeper.use(f'require "copy";\nredirect :copy "{away}";\n')
    subject = token("redirected")
    keeper.deliver(subject)
    sent = friend.wait_for(subject)
    assert sent.recipients == [away] and sent.sender == keeper.address
    assert sent.message["Subject"] == subject and sent.message["From"] == "Friend <friend@peer.test>"
    assert keeper.address in sent.message.get_all("Delivered-To") and "X-Mailstead-Verdict" not in sent.message
    # What comes back is kept, and goes nowhere again.
    box.deliver(sent.raw, to=keeper.address)
    eventually(lambda: len(keeper.mail()) == 2)
    assert len([one for one in friend.received if subject.encode() in one.raw]) == 1


def test_a_vacation_notice_goes_out_once_signed_and_never_to_lists(keeper, friend):
    keeper.use('require "vacation";\nvacation :days 7 :subject "Ich bin im Urlaub – bis Mai" "Bis dann, Änne.";\n')
    subject = token("question")
    keeper.deliver(subject)
    notice = friend.wait_for(keeper.address)
    assert notice.sender == "" and notice.recipients == ["friend@peer.test"]
    assert notice.message["Subject"] == "Ich bin im Urlaub – bis Mai"
    assert notice.message["Auto-Submitted"] == "auto-replied" and notice.message["DKIM-Signature"]
    assert "Änne" in notice.message.get_content()
    keeper.deliver(subject)
    keeper.deliver(subject, List_Id="<x.lists.test>")
    eventually(lambda: len(keeper.mail()) == 3)
    assert len([one for one in friend.received if keeper.address.encode() in one.raw]) == 1


def test_swaks_meets_a_refusal_in_the_session(box, keeper):
    keeper.use('require "ereject";\nif header :contains "subject" "offer" { ereject "No offers, please."; }\n')
    host, port = box.at("smtp")
    command = ["swaks", "--server", f"{host}:{port}", "--from", "friend@peer.test", "--to", keeper.address]
    command += ["--local-interface", "127.0.0.2", "--helo", "mx.peer.test", "--tls", "--body", "hello"]
    refused = subprocess.run([*command, "--header", "Subject: an offer"], capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0 and "550 5.7.1 No offers, please." in refused.stdout, refused.stdout
    taken = subprocess.run([*command, "--header", "Subject: a letter"], capture_output=True, text=True, timeout=60)
    assert taken.returncode == 0, taken.stdout
    assert len(keeper.mail()) == 1


def test_a_script_that_fails_keeps_the_mail_and_tells_its_owner(keeper):
    keeper.use('require "fileinto";\nif header :contains "subject" "x" {\n  fileinto "Nowhere";\n}\n')
    keeper.deliver("x one")
    keeper.deliver("x two")
    mail = keeper.mail()
    told = [one for one in mail if b"Your Sieve script failed" in one]
    assert len(mail) == 3 and len(told) == 1 and "no folder “Nowhere”".encode() in told[0]


def test_junk_goes_to_junk_whatever_the_script_says(box, keeper, friend):
    gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
    away = f"{token('never')}@peer.test"
    keeper.use(f'redirect "{away}";\n')
    subject = token("junk")
    keeper.deliver(subject, gtube + "\n")
    assert len(keeper.mail("Junk")) == 1
    assert not any(away in one.recipients for one in friend.received)
