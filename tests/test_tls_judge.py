"""What testssl.sh says of the ports that speak TLS. They are judged side by side, in about a minute for all."""

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

testssl = shutil.which("testssl") or shutil.which("testssl.sh")
pytestmark = pytest.mark.skipif(not testssl, reason="testssl.sh (Debian: testssl.sh) is not installed")

SERVICES = ("smtp", "submissions", "submission", "imaps", "https")
# What each of its parts shows at least; a part that did not run finds nothing wrong either.
PARTS = {"TLS1_2", "TLS1_3", "cipherlist_NULL", "cipher_negotiated", "cert_chain_of_trust", "cert_expirationStatus", "FS", "heartbleed", "ROBOT"}

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


@pytest.fixture(scope="module")
def judged(box, tmp_path_factory):
    """Its findings, for each service."""
    folder = tmp_path_factory.mktemp("testssl")
    with ThreadPoolExecutor(len(SERVICES)) as pool:
        asking = {service: pool.submit(judge, box, service, folder / f"{service}.json") for service in SERVICES}
        return {service: findings.result() for service, findings in asking.items()}


def judge(box, service, report):
    how = ["--starttls", "smtp"] if service in ("smtp", "submission") else []
    host, port = box.at(service)
    subprocess.run(
        [testssl, "--quiet", "--color", "0", "--warnings", "off", "--openssl", "/usr/bin/openssl", "--ip", host]
        + ["--protocols", "--server-preference", "--server-defaults", "--std", "--vulnerable", "--fs"]
        + (["--headers"] if service == "https" else [])
        + ["--add-ca", box.endpoints["ca_file"], "--jsonfile", report, *how, f"{box.hostname}:{port}"],
        capture_output=True,
        timeout=400,
    )
    return json.loads(report.read_text())


@pytest.mark.parametrize("service", SERVICES)
def test_an_independent_judge_finds_nothing_to_change(judged, service):
    findings = judged[service]
    wanted = PARTS | ({"HSTS_time", "X-Content-Type-Options"} if service == "https" else set())
    # Forward secrecy had a P before it in testssl.sh 3.0.
    there = {finding["id"].split()[0].replace("PFS", "FS") for finding in findings}
    assert wanted <= there, (wanted - there, there)
    wrong = [
        finding
        for finding in findings
        if finding["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL")
        and finding["id"].split()[0] not in EXPLAINED
    ]
    assert not wrong, "\n".join(f"{one['severity']} {one['id']}: {one['finding']}" for one in wrong)
