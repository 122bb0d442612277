"""What testssl.sh says of the ports that speak TLS. It takes up to a minute for each, so it runs when MAILSTEAD_TESTSSL is set."""

import json
import os
import shutil
import subprocess

import pytest

testssl = shutil.which("testssl") or shutil.which("testssl.sh")
pytestmark = pytest.mark.skipif(
    not testssl or not os.environ.get("MAILSTEAD_TESTSSL"), reason="testssl.sh runs when MAILSTEAD_TESTSSL is set"
)

# What is not the box's doing, or on purpose.
EXPLAINED = {
    # Of the openssl that it is run with, which has it ask about resumption in vain.
    "engine_problem", "sessionresumption_ticket", "sessionresumption_ID",
    # Every cipher that is offered is a good one, so the client may choose what its machine does best (Mozilla's guideline 5.7).
    "cipher_order",
    # A demo's certificate is of its own authority, which has no lists of revoked ones, and is good for ten years.
    "cert_revocation", "cert_validityPeriod", "cert_extlifeSpan", "cert_notAfter",
    # Asked of the world's name servers, which do not know a demo.
    "DNS_CAArecord",
}  # fmt: skip


@pytest.mark.parametrize("service", ["smtp", "submissions", "submission", "imaps", "https"])
def test_an_independent_judge_finds_nothing_to_change(box, tmp_path, service):
    report = tmp_path / "report.json"
    how = ["--starttls", "smtp"] if service in ("smtp", "submission") else []
    host, port = box.at(service)
    subprocess.run(
        [testssl, "--quiet", "--color", "0", "--warnings", "off", "--openssl", "/usr/bin/openssl", "--ip", host]
        + ["--protocols", "--server-preference", "--server-defaults", "--std", "--vulnerable", "--fs"]
        + (["--headers"] if service == "https" else [])
        + ["--add-ca", box.endpoints["ca_file"], "--jsonfile", report, *how, f"{box.hostname}:{port}"],
        capture_output=True,
        timeout=240,
    )
    findings = json.loads(report.read_text())
    assert {"TLS1_3", "TLS1_2"} <= {finding["id"] for finding in findings}, findings[-3:]
    wrong = [
        finding
        for finding in findings
        if finding["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL")
        and finding["id"].split()[0] not in EXPLAINED
    ]
    assert not wrong, "\n".join(f"{one['severity']} {one['id']}: {one['finding']}" for one in wrong)
