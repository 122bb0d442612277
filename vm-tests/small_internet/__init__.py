"""A small internet on one machine: namespaces, booted hosts, names, certificates, mail. See ../README.md."""
