"""The command `vm-tests/world`."""

import argparse
import os
import signal
import sys

from . import images, settings
from .shell import WorldError
from .world import World

TEXT = """\
A small internet on this machine, for trying and testing whole hosts. Nothing in it can reach the outside.

  world prepare                build the images (once; some minutes)
  world up [--suite SUITE]     start everything, with one pristine box
  world shell box              a shell in a host
  world exec laptop CMD...     a command in a host
  world box box2               a further pristine box
  world reset box              make a box pristine again
  world down                   end everything

hosts: dns, resolver, acme, peer, releases, laptop, and box, box2, ... box99
"""


def parser():
    top = argparse.ArgumentParser(prog="world", description=TEXT, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--world", default=os.environ.get("MAILSTEAD_WORLD", "world"), help="several can run side by side")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name, help):
        return commands.add_parser(name, help=help)

    prepare = add("prepare", "build the images that are missing")
    prepare.add_argument("--suite", choices=settings.SUITES, action="append", help="only for this suite")
    prepare.add_argument("--rebuild", action="store_true", help="build them anew")
    up = add("up", "start the world and one box")
    up.add_argument("--suite", choices=settings.SUITES, default=settings.DEFAULT_SUITE)
    up.add_argument("--no-box", action="store_true", help="without a box")
    add("down", "end everything")
    add("status", "what runs")
    add("shell", "an interactive shell in a host").add_argument("host")
    execute = add("exec", "run a command in a host")
    execute.add_argument("host")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD")
    for name in ("box", "reset"):
        box = add(name, "boot a pristine box" if name == "box" else "make a box pristine again")
        box.add_argument("host")
        box.add_argument("--suite", choices=settings.SUITES)
        box.add_argument("--disk", help="a small disk, like 900m")
        box.add_argument("--ram", default=settings.BOX_RAM)
        box.add_argument("--durable", action="store_true", help="fsync reaches the disk (for measurements)")
    copy = add("copy", "copy a file of this machine into a host")
    copy.add_argument("source")
    copy.add_argument("target", metavar="HOST:PATH")
    registrar = add("registrar", "enter a domain's name servers, glue and DS in its TLD")
    registrar.add_argument("action", choices=("set", "remove"))
    registrar.add_argument("domain")
    registrar.add_argument("--ns", action="append", default=[], help="a name server's name")
    registrar.add_argument("--glue", action="append", default=[], metavar="NAME=ADDRESS")
    registrar.add_argument("--ds", action="append", default=[], metavar="'TAG ALG TYPE DIGEST'")
    ptr = add("ptr", "set an address's reverse name (an empty name removes it)")
    ptr.add_argument("address")
    ptr.add_argument("name")
    record = add("record", "set records in a hosted zone (example.org)")
    record.add_argument("name")
    record.add_argument("type")
    record.add_argument("data", nargs="*")
    blocklist = add("blocklist", "put an address on the blocklist, or take it off")
    blocklist.add_argument("action", choices=("add", "remove"))
    blocklist.add_argument("address")
    blocklist.add_argument("--code", default="127.0.0.2")
    return top


def act(args, world):
    match args.command:
        case "prepare":
            images.prepare(args.suite or settings.SUITES, _say, args.rebuild)
        case "up":
            world.up(args.suite, box=not args.no_box)
        case "down":
            print(f"the world “{world.name}” " + ("is ended" if world.down() else "was not up"))
        case "status":
            print(world.status(), end="")
        case "shell":
            _become(world.host(args.host).command_line(["bash", "-l"], terminal=True))
        case "exec":
            if not args.argv:
                raise WorldError("which command?")
            _become(world.host(args.host).command_line(args.argv, terminal=sys.stdin.isatty()))
        case "box" | "reset":
            host = world.box(args.host, suite=args.suite, disk=args.disk, ram=args.ram, durable=args.durable)
            print(f"{host.name} runs: {host.ipv4} {host.ipv6}")
        case "copy":
            name, _, path = args.target.partition(":")
            world.host(name).copy_in(args.source, path)
        case _:
            _names(args, world.names)


def _names(args, names):
    match args.command, getattr(args, "action", None):
        case "registrar", "set":
            names.delegate(args.domain, args.ns, args.glue, args.ds)
        case "registrar", "remove":
            names.undelegate(args.domain)
        case "ptr", _:
            names.ptr(args.address, args.name)
        case "record", _:
            names.record(args.name, args.type, *args.data)
        case "blocklist", "add":
            names.blocklist(args.address, args.code)
        case "blocklist", "remove":
            names.blocklist(args.address, None)


def _become(argv):
    os.execvp(argv[0], argv)


def _say(text):
    print(text, flush=True)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a half-started world is ended too
    args = parser().parse_args()
    try:
        act(args, World(args.world, _say))
    except (WorldError, KeyError) as error:
        print(f"world: {error.args[0] if error.args else error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
