"""The zone: what the box says that it serves is what NSD serves, signed."""

import csv
import json
import re
import shutil
import subprocess

import pytest
from outside.box import eventually, free_ports


def dig(box, name, kind, *more):
    """The records that the name server gives, without their TTLs; none while it starts again."""
    host, port = box.at("dns")
    command = ["dig", "+noall", "+answer", "+norec", f"@{host}", "-p", str(port), name, kind, *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode in (0, 9), done.stderr  # 9: no reply
    return [line.split(None, 4) for line in done.stdout.splitlines() if not line.startswith(";")]


def plain(value):
    """A record's data without what is only spelling: quotes, spaces within keys, case."""
    return "".join(value.replace('"', "").split()).lower()


def test_every_record_that_is_told_is_served_as_told(box):
    records = box.json("dns", "zone")
    assert {"NS", "A", "MX", "TXT", "CAA", "TLSA", "SRV"} <= {record["kind"] for record in records}
    for record in records:
        served = dig(box, record["name"], record["kind"])
        assert plain(record["value"]) in [plain(line[4]) for line in served if line[3] == record["kind"]], record
        assert record["reason"].endswith(".")


def test_what_a_mail_domain_needs_is_there(box):
    by_name = {(record["name"], record["kind"]): record["value"] for record in box.json("dns", "zone")}
    assert "box.demo.example" in by_name["demo.example", "MX"]
    assert by_name["demo.example", "TXT"].strip('"').startswith("v=spf1")
    assert "v=DMARC1" in by_name["_dmarc.demo.example", "TXT"]
    assert "v=STSv1" in by_name["_mta-sts.demo.example", "TXT"]
    assert "v=TLSRPTv1" in by_name["_smtp._tls.demo.example", "TXT"]
    assert ("_25._tcp.box.demo.example", "TLSA") in by_name
    assert by_name["ns1.box.demo.example", "MX"] == "0 ."


def test_ldns_finds_nothing_wrong_with_the_signed_zone(box):
    zone = box.folder / "var/lib/mailstead/zones/demo.example.zone"
    done = subprocess.run(["ldns-verify-zone", zone], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_delv_validates_from_the_ds_that_the_owner_is_told(box, tmp_path):
    """The trust anchor is made of what `dns ds` prints and nothing else."""
    (ds,) = [one for one in box.json("dns", "ds", "demo.example") if one["digest_type"] == 2]
    assert ds["algorithm"] == 13
    anchor = tmp_path / "anchor.conf"
    words = f'{ds["key_tag"]} {ds["algorithm"]} {ds["digest_type"]} "{ds["digest"]}"'
    anchor.write_text(f'trust-anchors {{ "demo.example." static-ds {words}; }};\n')
    host, port = box.at("dns")
    for name, kind in (("demo.example", "MX"), ("box.demo.example", "A"), ("nothing.demo.example", "A")):
        command = ["delv", f"@{host}", "-p", str(port), "-a", anchor, "+root=demo.example", name, kind]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert "fully validated" in done.stdout, (name, done.stdout, done.stderr)
    told = box.run("dns", "ds", "demo.example").stdout
    assert f"{ds['key_tag']} 13 2 {ds['digest']}" in told


def test_the_first_address_of_a_second_domain_brings_its_zone(box):
    assert not dig(box, "second.example", "SOA")
    box.add_user("carol@second.example")
    eventually(lambda: dig(box, "second.example", "MX"), words="the second zone")
    assert "box.demo.example." in dig(box, "second.example", "MX")[0][4]
    assert any("RRSIG" == line[3] for line in dig(box, "second.example", "MX", "+dnssec"))
    selectors = [record["name"] for record in box.json("dns", "zone") if "._domainkey.second.example" in record["name"]]
    assert len(selectors) == 2 and all(dig(box, name, "TXT") for name in selectors)
    box.run("user", "remove", "carol@second.example")
    eventually(lambda: not dig(box, "second.example", "MX"), words="the end of the second zone")


def test_the_denials_are_as_plain_as_they_can_be(box):
    """RFC 9276: no salt, no further rounds."""
    assert dig(box, "demo.example", "NSEC3PARAM")[0][4] == "1 0 0 -"


def test_the_keys_are_two_and_the_parent_is_told_of_one(box):
    keys = box.json("dns", "rollover", "demo.example")
    assert [(key["kind"], key["phase"]) for key in keys["keys"]] == [("ksk", "active"), ("zsk", "active")]
    assert not keys["registrar"]
    (ksk, _) = keys["keys"]
    assert dig(box, "demo.example", "CDS")[0][4].split()[0] == str(ksk["key_tag"])
    told = box.run("dns", "ds", "demo.example").stdout
    assert "IN DNSKEY 257 3 13 " in told and f"IN DS {ksk['key_tag']} 13 4 " in told and "digest type  2" in told


def test_a_rollover_begins_and_is_called_off(box):
    def start():
        done = box.run("dns", "rollover", "demo.example", "--start", check=False)
        assert done.returncode == 0 or "not served yet" in done.stderr, done.stderr
        return done.returncode == 0

    # The role looks again after a minute whether what it decided is served.
    eventually(start, 150, "a rollover")
    eventually(lambda: len(dig(box, "demo.example", "DNSKEY")) == 3, words="the new key in the zone")
    again = box.run("dns", "rollover", "demo.example", "--start", check=False)
    assert again.returncode == 1 and "under way" in again.stderr
    box.run("dns", "rollover", "demo.example", "--cancel")
    eventually(lambda: len(dig(box, "demo.example", "DNSKEY")) == 2, words="the end of the new key")


def test_added_records_are_served_and_the_boxs_own_are_not_replaced_silently(box):
    box.run("dns", "add", "shop.demo.example", "A", "198.51.100.9", "--ttl", "300")
    box.run("dns", "add", "demo.example", "TXT", "verification=AbC; (x)")
    eventually(lambda: dig(box, "shop.demo.example", "A"), words="the added record")
    assert dig(box, "shop.demo.example", "A")[0][1] == "300"
    assert len(dig(box, "demo.example", "TXT")) == 2
    for words, why in [
        (["demo.example", "A", "198.51.100.9"], "--replace"),
        (["demo.example", "MX", "5 other.example.", "--replace"], "cannot be replaced"),
        (["shop.demo.example", "A", "198.51.100.999"], "such as 192.0.2.1"),
        (["shop.elsewhere.test", "A", "198.51.100.9"], "in no zone of this box"),
    ]:
        refused = box.run("dns", "add", *words, check=False)
        assert refused.returncode == 1 and why in refused.stderr, refused.stderr
    box.run("dns", "add", "www.demo.example", "CNAME", "host.elsewhere.test.", "--replace")
    eventually(lambda: dig(box, "www.demo.example", "CNAME"), words="www elsewhere")
    assert [line[3] for line in dig(box, "www.demo.example", "A")] == ["CNAME"]
    names = {(one["name"], one["kind"]) for one in box.json("dns", "list")}
    assert names == {("shop.demo.example", "A"), ("demo.example", "TXT"), ("www.demo.example", "CNAME")}
    test_ldns_finds_nothing_wrong_with_the_signed_zone(box)
    for name, kind in names:
        box.run("dns", "remove", name, kind)
    eventually(lambda: not dig(box, "shop.demo.example", "A"), words="the end of the added record")
    assert [line[3] for line in dig(box, "www.demo.example", "A")] == ["A"]


def test_records_come_in_every_shape(box):
    records = json.loads(box.run("dns", "records", "--format", "json").stdout)
    rows = list(csv.DictReader(box.run("dns", "records", "--format", "csv").stdout.splitlines()))
    assert [(row["name"], row["type"], row["value"]) for row in rows] == [
        (one["name"], one["kind"], one["value"]) for one in records
    ]
    assert {row["need"] for row in rows} == {"required", "recommended", "optional"}
    assert len(box.run("dns", "records", "--format", "table").stdout.splitlines()) == len(records) + 1


def test_a_secondary_fetches_the_zone_with_its_key_and_nobody_without(box, tmp_path):
    told = box.run("dns", "secondary", "add", "ns.elsewhere.test", "127.0.0.1").stdout
    eventually(lambda: any("ns.elsewhere" in line[4] for line in dig(box, "demo.example", "NS")), words="its NS record")
    name, secret = (re.search(rf"{word} +(\S+)", told)[1] for word in ("key name", "secret"))
    host, port = box.at("dns")

    def transfer(*more):
        command = ["dig", "+noall", "+answer", f"@{host}", "-p", str(port), "demo.example", "AXFR", *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout

    key = f"hmac-sha256:{name}:{secret}"
    assert eventually(lambda: "RRSIG" in transfer("-y", key) or None, words="a transfer")
    assert "Transfer failed" in transfer()
    wrong = f"hmac-sha256:{name}:{'A' * 43}="
    assert "RRSIG" not in transfer("-y", wrong)
    # Another NSD fetches and serves it.
    there = free_ports()
    (tmp_path / "nsd.conf").write_text(
        f"""server:
  ip-address: 127.0.0.1@{there}
  server-count: 1
  username: ""
  zonesdir: "{tmp_path}"
  pidfile: "{tmp_path}/pid"
  logfile: "{tmp_path}/log"
  xfrdfile: "{tmp_path}/xfrd"
  xfrdir: "{tmp_path}"
  zonelistfile: "{tmp_path}/list"
remote-control:
  control-enable: no
key:
  name: "{name}"
  algorithm: hmac-sha256
  secret: "{secret}"
zone:
  name: demo.example
  zonefile: "{tmp_path}/demo.example.zone"
  request-xfr: AXFR 127.0.0.1@{port} {name}
  allow-notify: 127.0.0.1 {name}
"""
    )
    second = subprocess.Popen(["nsd", "-d", "-c", tmp_path / "nsd.conf"], stderr=subprocess.DEVNULL)
    try:
        ask = ["dig", "+short", "@127.0.0.1", "-p", str(there), "demo.example", "SOA"]
        mine = dig(box, "demo.example", "SOA")[0][4]
        fetched = lambda: subprocess.run(ask, capture_output=True, text=True).stdout.strip()  # noqa: E731
        eventually(lambda: fetched() == mine, 40, "the zone at the secondary")
    finally:
        second.kill()
        second.wait()
    box.run("dns", "secondary", "remove", "ns.elsewhere.test")
    eventually(lambda: "RRSIG" not in transfer("-y", key), words="the end of transfers")


def test_a_router_moves_its_own_name_with_its_token(box):
    token = re.search(r"^  (\S+)$", box.run("dns", "token", "add", "home.demo.example").stdout, re.MULTILINE)[1]

    def update(password, address, name="home.demo.example"):
        url = f"https://{box.hostname}:{box.at('https')[1]}/nic/update?hostname={name}&myip={address}"
        command = ["curl", "-sS", "--cacert", box.endpoints["ca_file"], "--resolve"]
        command += [f"{box.hostname}:{box.at('https')[1]}:127.0.0.1", "-u", f"{name}:{password}", url]
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout

    assert update(token, "198.51.100.7") == "good 198.51.100.7\n"
    eventually(lambda: [line[4] for line in dig(box, "home.demo.example", "A")] == ["198.51.100.7"], words="the address")
    assert dig(box, "home.demo.example", "A")[0][1] == "60"
    assert update(token, "198.51.100.7") == "nochg 198.51.100.7\n"
    assert update(token, "2001:db8::7") == "good 2001:db8::7\n"
    assert update("guess", "198.51.100.8") == "badauth\n"
    assert update(token, "198.51.100.8", "box.demo.example") == "badauth\n"
    box.run("dns", "token", "remove", "home.demo.example")
    assert update(token, "198.51.100.8") == "badauth\n"


def test_the_name_server_answers_for_nobody_else(box):
    host, port = box.at("dns")
    done = subprocess.run(["dig", f"@{host}", "-p", str(port), "elsewhere.test", "A"], capture_output=True, text=True)
    assert "status: REFUSED" in done.stdout


@pytest.mark.skipif(not shutil.which("named-checkzone"), reason="named-checkzone (Debian: bind9-utils) is not installed")
def test_the_records_to_paste_are_lines_of_a_zone_file(box, tmp_path):
    pasted = box.run("dns", "records").stdout
    assert "; required: " in pasted
    zone = tmp_path / "pasted.zone"
    head = "$TTL 3600\n@ IN SOA ns1.elsewhere.test. hostmaster.elsewhere.test. 1 3600 600 86400 600\n"
    zone.write_text(head + "@ IN NS ns1.elsewhere.test.\n" + pasted)
    done = subprocess.run(["named-checkzone", "-i", "none", "demo.example", zone], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
