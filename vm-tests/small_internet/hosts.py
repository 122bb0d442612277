"""One host: a root folder (overlay on an image), a network namespace, a control group, and systemd-nspawn over all.

A box boots systemd; the other hosts run one start script under nspawn's stub init. A command in a box runs as a
transient unit, so inside its control group and its limits, never merely in its namespaces.
"""

import os
import shlex
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

from . import cgroups, network, settings
from .shell import WorldError, run, tail, wait_for
from .terminal import Terminal

# `systemctl reboot` ends nspawn with 133; the same host is then started again, without its old firewall rules.
SUPERVISOR = """\
for procs in {procs}; do echo $$ > "$procs" || exit 1; done
while :; do
    {nspawn}
    code=$?
    [ $code = 133 ] || exit $code
    ip netns exec {netns} nft flush ruleset
done
"""

NAMESPACES = ["-m", "-u", "-i", "-n", "-p"]
SERVICE_ENV = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
               "LANG=C.UTF-8", "TERM=xterm"]


class Host:
    """A host of a world. `folder` keeps all that is its own: the overlay's layers, logs, the supervisor's pid."""

    def __init__(self, world, name, folder):
        self.world, self.name, self.folder = world, name, folder
        self.place = settings.place(name)
        self.root = folder / "root"
        self.log = folder / "console.log"

    @property
    def ipv4(self):
        return self.place.ipv4

    @property
    def ipv6(self):
        return self.place.ipv6

    @property
    def is_box(self):
        return self.place.is_box

    @property
    def unit(self):
        return network.namespace(self.world, self.name)

    # --- start and stop

    def mount(self, layers, disk=None, durable=False):
        """Mounts the root: `layers` (topmost first) below an upper folder, or a file system of `disk` bytes.

        Unless `durable`, the overlay ignores fsync: what is lost then is lost only when the whole machine goes down,
        and a busy disk of the machine does not hold up the hosts. Measure only with `durable`.
        """
        for part in ("writable", "root"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        if disk:
            run(["mount", "-t", "tmpfs", "-o", f"size={disk},mode=755", "small-disk", self.folder / "writable"])
        for part in ("up", "work"):
            (self.folder / "writable" / part).mkdir(exist_ok=True)
        lower = ":".join(str(layer) for layer in layers)
        upper, work = self.folder / "writable/up", self.folder / "writable/work"
        options = f"lowerdir={lower},upperdir={upper},workdir={work}" + ("" if durable else ",volatile")
        run(["mount", "-t", "overlay", "overlay", "-o", options, self.root])

    def start(self, command=None, binds=(), ram=None):
        """Boots the host (or runs `command` in it) in the background."""
        procs = cgroups.create(self.unit, ram)
        nspawn = [
            "systemd-nspawn", "-q", "-D", self.root, "-M", self.unit, f"--hostname={self.name}",
            f"--network-namespace-path=/run/netns/{self.unit}", "--register=no", "--keep-unit",
            "--capability=CAP_NET_ADMIN", "--system-call-filter=bpf", "--resolv-conf=off", "--timezone=off",
            "--link-journal=no", *(f"--bind={source}:{target}" for source, target in binds),
        ]  # fmt: skip
        nspawn += ["--as-pid2", *command] if command else ["-b"]
        script = SUPERVISOR.format(
            procs=" ".join(shlex.quote(str(path)) for path in procs),
            nspawn=shlex.join(str(word) for word in nspawn),
            netns=self.unit,
        )
        with open(self.log, "ab") as log:
            supervisor = subprocess.Popen(
                ["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        (self.folder / "supervisor.pid").write_text(str(supervisor.pid))

    def leader(self):
        """The pid, as the machine sees it, of the host's pid 1; None when the host does not run."""
        try:
            pid = int((self.folder / "supervisor.pid").read_text())
        except (OSError, ValueError):
            return None
        for _ in range(2):  # supervisor -> nspawn -> pid 1
            children = _children(pid)
            if not children:
                return None
            pid = children[0]
        return pid

    @property
    def running(self):
        return self.leader() is not None

    def wait_booted(self, timeout=settings.BOOT_TIMEOUT):
        def state():
            got = self._enter(["systemctl", "is-system-running"], timeout=10, check=False).out.strip()
            return got if got in ("running", "degraded") else None

        try:
            state = wait_for(state, timeout, f"{self.name} to boot")
        except WorldError as error:
            raise WorldError(f"{error}\n{tail(self.log)}") from None
        if state == "degraded":
            failed = self._enter(["systemctl", "--failed", "--no-legend", "--plain"]).out
            logs = "".join(
                self._enter(["journalctl", "-b", "--no-pager", "-n", "30", "-u", line.split()[0]], check=False).out
                for line in failed.splitlines()
            )
            raise WorldError(f"{self.name} booted, but some units failed:\n{failed}{logs}")
        self._delegate_cgroups()

    def _delegate_cgroups(self):
        """Lets the box's systemd set limits in the controllers' own hierarchies (they come read-only)."""
        if cgroups.unified():
            return
        for controller in cgroups.DELEGATED:
            target = f"/sys/fs/cgroup/{controller}"
            self._enter(["mount", "-o", "remount,bind,rw,nosuid,nodev,noexec", "cgroup", target])
        self._enter(["systemctl", "daemon-reexec"], timeout=30)

    def reboot(self, timeout=settings.BOOT_TIMEOUT):
        before = self.leader()
        self._enter(["systemctl", "reboot"], check=False)
        wait_for(lambda: self.leader() not in (before, None), timeout, f"{self.name} to go down and come back")
        self.wait_booted(timeout)

    def poweroff(self, timeout=90):
        """Shuts the host down in order; its root folder stays."""
        if not self.running:
            return
        self._enter(["systemctl", "poweroff"], check=False)
        wait_for(lambda: not self.running, timeout, f"{self.name} to power off")

    def pull_the_plug(self):
        """Ends all of the host's processes at once. What was written stays (the page cache is the machine's)."""
        leader = self.leader()
        if leader:
            _kill(leader)
        try:
            supervisor = int((self.folder / "supervisor.pid").read_text())
        except (OSError, ValueError):
            supervisor = None
        if supervisor and _is_ours(supervisor):
            _reap(supervisor)
        (self.folder / "supervisor.pid").unlink(missing_ok=True)
        cgroups.kill_and_remove(self.unit)

    def unmount(self):
        for target in (self.root, self.folder / "writable"):
            for _ in range(5):
                if not os.path.ismount(target):
                    break
                if not run(["umount", "-R", target], check=False).ok:
                    time.sleep(0.1)
            else:
                run(["umount", "-R", "-l", target], check=False)

    def discard(self):
        """Ends the host and removes everything that was its own."""
        self.pull_the_plug()
        self.unmount()
        network.delete(self.world, self.name)
        if any(os.path.ismount(self.folder / part) for part in ("root", "writable")):
            raise WorldError(f"{self.folder} still has a mount; not removed")
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- commands

    def _nsenter(self, cgroup=False):
        leader = self.leader()
        if not leader:
            raise WorldError(f"{self.name} is not running\n{tail(self.log, 15)}")
        return ["nsenter", "-t", str(leader), *NAMESPACES, *(["-C"] if cgroup else []), "--"]

    def _enter(self, argv, **how):
        return run([*self._nsenter(cgroup=self.is_box), *argv], **how)

    def command_line(self, argv, env=None, terminal=False, unit=None):
        """The machine's command that runs `argv` inside this host."""
        argv = [str(word) for word in argv]
        if not self.is_box:
            return [*self._nsenter(), *SERVICE_ENV, *(f"{k}={v}" for k, v in (env or {}).items()), *argv]
        settings_ = {"HOME": "/root", "LANG": "C.UTF-8", "TERM": "xterm", **(env or {})}
        words = ["systemd-run", "--quiet", "--collect", "--wait", "--pty" if terminal else "--pipe"]
        words += [f"--unit={unit}"] if unit else []
        words += ["--working-directory=/root", *(f"--setenv={k}={v}" for k, v in settings_.items())]
        return [*self._nsenter(cgroup=True), "env", "SYSTEMD_TINT_BACKGROUND=0", "TERM=xterm", *words, "--", *argv]

    def run(self, *argv, timeout=settings.COMMAND_TIMEOUT, check=True, input=None, env=None):
        """Runs a program in the host; returns its Result. One string with spaces is a shell command."""
        if len(argv) == 1 and " " in str(argv[0]):
            argv = ("bash", "-c", argv[0])
        unit = f"test-{uuid.uuid4().hex[:12]}" if self.is_box else None
        line = self.command_line(argv, env=env, unit=unit)
        try:
            return run(line, timeout=timeout, check=check, input=input)
        except WorldError as error:
            if unit:
                self._enter(["systemctl", "kill", "--signal=SIGKILL", unit], check=False)
            raise WorldError(f"on {self.name}: {error}") from None

    def terminal(self, *argv, env=None):
        """Runs a program in the host on a pseudo-terminal; returns a Terminal to talk to it."""
        if len(argv) == 1 and " " in str(argv[0]):
            argv = ("bash", "-c", argv[0])
        unit = f"test-{uuid.uuid4().hex[:12]}" if self.is_box else None
        line = self.command_line(argv, env=env, terminal=True, unit=unit)

        def end():
            if unit and self.running:
                self._enter(["systemctl", "kill", "--signal=SIGKILL", unit], check=False)

        return Terminal(line, end)

    def journal(self, unit=None, lines=60):
        """The last lines of the box's journal."""
        which = ["-u", unit] if unit else []
        return self._enter(["journalctl", "--no-pager", "-b", "-n", str(lines), *which], check=False).out

    # --- files

    def path(self, inside):
        """Where a file of the host lies on this machine. (Not for /run, /tmp, /proc: those are mounts inside.)"""
        return self.root / str(inside).lstrip("/")

    def write(self, inside, content, mode=0o644):
        """Writes a file inside the host, through the host itself, so that it also works below /run and /tmp."""
        data = content if isinstance(content, bytes) else content.encode()
        quoted = shlex.quote(str(inside))
        command = f"mkdir -p $(dirname {quoted}) && cat > {quoted} && chmod {mode:o} {quoted}"
        self._enter(["sh", "-c", command], input=data)

    def read(self, inside):
        return self.read_bytes(inside).decode(errors="replace")

    def read_bytes(self, inside):
        done = subprocess.run([*self._nsenter(), "cat", str(inside)], capture_output=True, timeout=60)
        if done.returncode:
            raise WorldError(f"on {self.name}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def copy_in(self, source, inside, mode=None):
        """Copies a file of this machine into the host."""
        source = Path(source)
        self.write(inside, source.read_bytes(), mode if mode is not None else source.stat().st_mode & 0o777)

    def copy_out(self, inside, target):
        """Copies a file of the host to this machine."""
        Path(target).write_bytes(self.read_bytes(inside))

    def listing(self, *folders):
        """Every path below the folders with type, mode, owner, size and link target: to show that nothing changed."""
        # A folder's size says nothing: it differs between the layers of a disk.
        command = "find \"$@\" \\( -type d -printf '%p %y %m %U:%G\\n' -o -printf '%p %y %m %U:%G %s %l\\n' \\) 2>/dev/null | sort"
        return self._enter(["sh", "-c", command, "sh", *folders], check=False).out


def _children(pid):
    return [int(word) for word in run(["pgrep", "-P", str(pid)], check=False).out.split()]


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _is_ours(pid):
    """Whether a remembered pid is still a supervisor of ours and not somebody who came after."""
    try:
        return b"systemd-nspawn" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _reap(supervisor, patience=5):
    """Waits until a supervisor whose host is dead has ended; ends it otherwise."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            os.waitpid(supervisor, os.WNOHANG)
        except ChildProcessError:
            pass
        if not _is_ours(supervisor):
            return
        time.sleep(0.02)
    for pid in [*_children(supervisor), supervisor]:
        _kill(pid)
