"""Every proof there is, and the checks that have none, each with the reason: there are none such now."""

from . import proofs, proofs_host, proofs_mail, proofs_names, proofs_peers, proofs_tls

ALL = [*proofs.ALL, *proofs_names.ALL, *proofs_mail.ALL, *proofs_tls.ALL, *proofs_host.ALL, *proofs_peers.ALL]

NOT_PROVED = {}
