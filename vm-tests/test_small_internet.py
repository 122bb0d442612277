"""The small internet itself: its judges say no when they should, and its boxes are what a fresh server is."""

import pytest

from small_internet import mail
from small_internet.settings import ACME_CA_FILE, ACME_DIRECTORY
from small_internet.shell import WorldError, run, wait_for


@pytest.fixture(scope="module")
def box(world):
    yield world.box("box")
    world.remove("box")


def status_of(world, name, kind):
    return world.laptop.run("dig", "+noall", "+comments", name, kind).out


def test_names_validate_and_a_wrong_ds_does_not(world):
    assert " ad;" in status_of(world, "peer.org", "MX")
    assert " ad;" in status_of(world, "not-there.peer.org", "A")
    assert " ad;" not in status_of(world, "google.com", "MX")
    wrong = "1 13 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766"
    world.names.delegate("example.org", ["ns.hosting.net"], ds=[wrong])
    try:
        wait_for(lambda: "SERVFAIL" in status_of(world, "example.org", "SOA"), 10, "the wrong DS to be noticed")
    finally:
        world.names.delegate("example.org", ["ns.hosting.net"])
    wait_for(lambda: "NOERROR" in status_of(world, "example.org", "SOA"), 10, "the DS to be gone")


def test_reverse_names_and_the_blocklist_follow_their_keepers(world):
    box = world.host("box9")  # the names are there before the box; no other test changes these
    def answer(*question):
        return world.laptop.run("dig", "+short", *question).out.split()

    assert answer("-x", box.ipv4) == ["static-109.clients.hosting.net."]
    for address in (box.ipv4, box.ipv6):
        world.names.ptr(address, "box.example.com")
        wait_for(lambda address=address: answer("-x", address) == ["box.example.com."], 10, "the new reverse name")
        world.names.ptr(address, "static-109.clients.hosting.net")
    listed = ".".join(reversed(box.ipv4.split("."))) + ".zen.spamhaus.org"
    assert answer(listed) == []
    world.names.blocklist(box.ipv4)
    wait_for(lambda: answer(listed) == ["127.0.0.2"], 10, "the listing")
    world.names.blocklist(box.ipv4, None)
    wait_for(lambda: answer(listed) == [], 10, "the listing to go")


def test_a_domain_hosted_elsewhere_takes_records(world):
    world.names.record("told.example.org", "TXT", "v=spf1 ip4:45.90.9.9 -all")
    world.names.record("told.example.org", "A", "45.90.9.9", "45.90.9.8")
    assert world.laptop.run("dig", "+short", "told.example.org", "TXT").out == '"v=spf1 ip4:45.90.9.9 -all"\n'
    assert len(world.laptop.run("dig", "+short", "told.example.org", "A").out.split()) == 2
    world.names.record("told.example.org", "A")
    assert world.laptop.run("dig", "+short", "told.example.org", "A").out == ""


def test_the_peer_signs_and_verifies(world):
    title = mail.subject("signed")
    mail.swaks(
        world, "--server", "mail.peer.org", "--from", "someone@example.org", "--to", "friend@peer.org",
        "--header", f"Subject: {title}",
    )  # fmt: skip
    results = " ".join(mail.wait_for_peer_mail(world, title).get_all("authentication-results"))
    assert "spf=none" in results and "dkim=none" in results and "dmarc=none" in results
    title = mail.subject("from the peer")
    mail.peer_sends(world, "other@peer.org", title)
    assert "d=peer.org" in mail.wait_for_peer_mail(world, title, "other")["dkim-signature"]


def test_the_peer_refuses_forgeries_and_relaying(world):
    said = mail.swaks(
        world, "--server", "mail.peer.org", "--from", "friend@peer.org", "--to", "friend@peer.org", check=False
    )
    assert "550 5.7.1 rejected by DMARC policy" in said.text
    said = mail.swaks(
        world, "--server", "mail.peer.org", "--from", "a@example.org", "--to", "b@google.com", check=False
    )
    assert "554" in said.text and "Relay access denied" in said.text


def test_nothing_leads_out(world, box):
    router = ["ip", "netns", "exec", f"ms-{world.name}-router"]
    assert "default" not in run([*router, "ip", "route"]).out + run([*router, "ip", "-6", "route"]).out
    assert not box.run("curl", "-sS", "--max-time", "3", "http://1.1.1.1/", check=False).ok


def test_a_box_is_a_fresh_server(box):
    assert box.run("systemctl", "is-system-running").out.strip() == "running"
    listening = box.run("ss", "-Hltun").out
    assert ":22 " in listening and not any(f":{port} " in listening for port in (25, 53, 80, 443, 993))
    assert box.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", ACME_DIRECTORY).out == "200"
    assert box.run("curl", "-sS", "-o", "/dev/null", "--cacert", ACME_CA_FILE, "-w", "%{http_code}", ACME_DIRECTORY).ok
    box.run("apt-get", "update", "-q")
    assert "nginx" in box.run("apt-get", "install", "-q", "-y", "-s", "nginx", "nsd", "unbound").out


def test_commands_run_inside_the_boxs_limits(box):
    assert "/system.slice/test-" in box.run("cat", "/proc/self/cgroup").out
    hog = ["python3", "-c", "x = bytearray(200_000_000); print(len(x))"]
    limited = ["systemd-run", "-q", "--wait", "--pipe", "-p", "MemoryMax=50M", "-p", "MemorySwapMax=0"]
    assert box.run(*hog).ok
    assert not box.run(*limited, *hog, check=False).ok


def test_a_reset_box_is_pristine(world, box):
    box.run("touch", "/etc/traces", "/opt/traces")
    box.run("nft", "--version", check=False)
    world.reset("box")
    assert "No such file" in box.run("ls", "/etc/traces", "/opt/traces", check=False).err
    assert box.run("systemctl", "is-system-running").out.strip() == "running"


def test_a_snapshot_continues_where_the_box_was(world):
    box = world.box("box3")
    try:
        box.write("/root/kept", "kept")
        world.snapshot("box3", "a-moment")
        again = world.box("box3", snapshot="a-moment")
        assert again.read("/root/kept") == "kept"
        again.write("/root/kept", "changed")
        assert world.box("box3", snapshot="a-moment").read("/root/kept") == "kept"
        again.reboot()
        assert again.read("/root/kept") == "kept"
    finally:
        world.remove("box3")


def test_a_command_that_hangs_is_ended_inside_the_box_too(box):
    with pytest.raises(WorldError, match="not done after 1 s"):
        box.run("sleep", "4711", timeout=1)
    assert "4711" not in box.run("ps", "ax").out.replace("ps ax", "")
