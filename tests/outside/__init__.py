"""The world outside a demo box, on loopback: names, another mail server, and clients of the box."""
