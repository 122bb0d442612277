"""Every status check, proved: one thing is broken on a box, this check says so and no other, its remedy is followed as it is
written, and it passes again. How, for each, stands in `small_internet/proofs.py`."""

import json

import pytest

from small_internet import product, proofs
from small_internet.every_proof import ALL, NOT_PROVED
from small_internet.shell import WorldError, wait_for


@pytest.fixture(scope="module")
def places(world, signer, first_install):
    """One box for all proofs; one that a proof left in a bad state is made anew. A second box is there for those that want one."""
    kept = {}

    def neighbour():
        if "neighbour" not in kept:
            kept["neighbour"] = product.Neighbour.moves_in(world, signer)
        return kept["neighbour"]

    def whole():
        if "place" not in kept:
            owner = first_install.owner
            world.box("box", snapshot="installed")
            owner.at_the_provider()
            owner.wait_for_services()
            first_install.dirty = True
            kept["place"] = proofs.Place(world, owner, neighbour)
            kept["place"].settle()
        return kept["place"]

    yield whole, kept
    if "place" in kept:
        proofs.outside_in_order(kept["place"])
    if "neighbour" in kept:
        kept["neighbour"].moves_out()
    first_install.dirty = True


@pytest.fixture
def place(places):
    return places[0]()


def test_every_check_is_proved_or_stands_in_the_list_with_a_reason(place):
    known = {check["id"] for check in json.loads(place.owner.run("status", "--list", "--json").out)}
    proved = [proof.check for proof in ALL]
    assert len(proved) == len(set(proved)), "a check is proved twice"
    assert not set(proved) & set(NOT_PROVED), "a check is proved and excused"
    assert known - set(proved) - set(NOT_PROVED) == set(), "checks without a proof"
    assert (set(proved) | set(NOT_PROVED)) - known == set(), "proofs of checks that there are not"


def test_a_check_that_is_in_order_or_that_the_box_cannot_mend_says_so(place):
    whole = place.owner.run("status", "--mend", "unit-nginx")
    assert "There is nothing to mend" in whole.out
    beyond = place.owner.run("status", "--mend", "ptr-ipv4", check=False)
    assert beyond.code == 1 and "the box cannot mend that by itself" in beyond.err, beyond


def test_a_ds_that_was_just_entered_counts_whatever_the_resolver_heard_before(place):
    place.be_unsigned(True)
    # From now on the resolver has the zone's SOA, as unsigned, for an hour.
    assert place.look("dnssec")["dnssec"]["state"] == "warning"
    place.owner.enter_ds(place.ds)

    def seen():
        found = place.look("ds", "dnssec")
        if any(check["state"] != "ok" for check in found.values()):
            raise WorldError(str(found))
        return True

    try:
        wait_for(seen, 60, "both checks to see what the registrar entered", interval=1)
    finally:
        place.be_unsigned(False)


def test_a_run_by_the_timers_unit_is_kept_and_what_changed_is_noted(place):
    place.box.run("systemctl start mailstead-checks.service")
    place.do("systemctl stop apt-daily.timer")
    place.box.run("systemctl start mailstead-checks.service")
    results = {check["id"]: check for check in json.loads(place.box.read("/var/lib/mailstead/checks/results.json"))}
    assert results["unit-package-lists"]["state"] == "warning", results["unit-package-lists"]
    change = json.loads(place.box.read("/var/lib/mailstead/checks/changes.jsonl").splitlines()[-1])
    assert (change["id"], change["from"], change["to"]) == ("unit-package-lists", "ok", "warning")
    place.owner.run("status", "--mend", "unit-package-lists")
    place.box.run("systemctl start mailstead-checks.service")
    change = json.loads(place.box.read("/var/lib/mailstead/checks/changes.jsonl").splitlines()[-1])
    assert (change["id"], change["from"], change["to"]) == ("unit-package-lists", "warning", "ok")


def test_the_panels_wish_starts_a_run_and_prometheus_reads_the_figures_on_this_machine_alone(place):
    last = "stat -c %Y.%i /var/lib/mailstead/checks/results.json"
    before = place.box.run(last).out
    place.box.run("runuser -u ms-web -- touch /var/lib/mailstead/web/look-again")
    place.box.run(f"for i in $(seq 100); do [ \"$({last})\" != '{before.strip()}' ] && exit 0; sleep 0.3; done; exit 1")
    figures = place.box.run("curl -sS --fail http://127.0.0.1:19725/metrics").out
    assert 'mailstead_check_state{check="service-web",group="Services"} 0' in figures, figures
    listening = place.box.run("ss -Hltn").out
    mine = {line.split()[3] for line in listening.splitlines() if ":19725" in line}
    assert mine and mine <= {"127.0.0.1:19725", "[::1]:19725"}, listening


@pytest.mark.parametrize("proof", ALL, ids=lambda proof: proof.check)
def test_the_check_sees_the_fault_and_passes_once_its_remedy_is_followed(places, proof):
    whole, kept = places
    place = whole()
    try:
        place.prove(proof)
    except BaseException:
        proofs.outside_in_order(place)
        del kept["place"]  # the next proof gets a new box
        raise
