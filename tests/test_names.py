"""The zone: what the box says that it serves is what NSD serves, signed."""

import shutil
import subprocess

import pytest
from outside.box import eventually


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
