"""Every proof there is, and the checks that have none, each with where it is shown instead."""

from . import proofs, proofs_host, proofs_mail, proofs_names, proofs_tls

ALL = [*proofs.ALL, *proofs_names.ALL, *proofs_mail.ALL, *proofs_tls.ALL, *proofs_host.ALL]

# Each with the reason.
NOT_PROVED = {}
