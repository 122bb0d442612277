"""Running programs with a limit on time, and waiting for conditions with a limit on patience."""

import subprocess
import time


class WorldError(Exception):
    """Something in the small internet did not do what it should; the text says what, and shows the log."""


class Result:
    """What a program said: `code`, `out`, `err` (text)."""

    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    @property
    def ok(self):
        return self.code == 0

    @property
    def text(self):
        return self.out + self.err

    def __repr__(self):
        return f"<{' '.join(map(str, self.argv))[:200]}: code {self.code}\n{self.out}{self.err}>"


def run(argv, *, timeout=60, check=True, input=None, env=None, cwd=None):
    """Runs a program to its end. Raises WorldError when it fails (unless check=False) or takes too long."""
    argv = [str(word) for word in argv]
    if isinstance(input, str):
        input = input.encode()
    try:
        done = subprocess.run(
            argv,
            input=b"" if input is None else input,
            capture_output=True,
            timeout=timeout,
            env=env,
            cwd=cwd,
        )
    except subprocess.TimeoutExpired as late:
        said = ((late.stdout or b"") + (late.stderr or b"")).decode(errors="replace")
        raise WorldError(f"not done after {timeout} s: {' '.join(argv)}\n{said}") from None
    except FileNotFoundError:
        raise WorldError(f"there is no program {argv[0]} on this machine") from None
    result = Result(argv, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
    if check and not result.ok:
        raise WorldError(f"failed with code {result.code}: {' '.join(argv)}\n{result.out}{result.err}")
    return result


def wait_for(condition, timeout, what, interval=0.1):
    """Calls `condition` until it gives something true, which is returned; at most `timeout` seconds.

    A condition that raises WorldError counts as "not yet"; its last words are shown in the end.
    """
    end = time.monotonic() + timeout
    last = ""
    while True:
        try:
            value = condition()
            if value:
                return value
        except WorldError as error:
            last = str(error)
        if time.monotonic() > end:
            raise WorldError(f"waited {timeout} s for {what}" + (f"\n{last}" if last else ""))
        time.sleep(interval)


def tail(path, lines=40):
    """The last lines of a log, or a note that it is not there."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return f"({path} is not there)"
    return "\n".join(text.splitlines()[-lines:])
