"""Every proof there is, and the checks that have none, each with where it is shown instead."""

from . import proofs, proofs_host, proofs_mail, proofs_names, proofs_peers, proofs_tls

ALL = [*proofs.ALL, *proofs_names.ALL, *proofs_mail.ALL, *proofs_tls.ALL, *proofs_host.ALL, *proofs_peers.ALL]

NOT_PROVED = {
    **{f"memory-{role}": "hosts here do not count memory by unit; judged in src/checks/src/probes/units.rs" for role in proofs.ROLES},
    "space-boot": "the root of a box is the machine's disk; the same probe is proved by space-tmp and space-log",
}
