"""A program on a pseudo-terminal, and a reader who waits for words and types answers."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from .shell import WorldError

# Colours, cursor movements, titles: what a terminal would obey and a reader does not see.
ESCAPES = re.compile(r"\x1b\][^\x07\x1b]*(\x07|\x1b\\)|\x1b\[[0-9;?!]*[ -/]*[@-~]|\x1b[@-Z\\-_=>78()]B?")

UP, DOWN, ENTER = "\x1b[A", "\x1b[B", "\r"


class Terminal:
    """Talk to a program as a person does. `seen` is all it has shown so far, without escape sequences."""

    def __init__(self, argv, end=lambda: None, columns=100, rows=40):
        self._end_inside = end
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            try:
                os.execvp(argv[0], argv)
            finally:
                os._exit(127)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._raw = ""
        self._position = 0
        self.code = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def seen(self):
        return ESCAPES.sub("", self._raw).replace("\r\n", "\n").replace("\r", "\n")

    def _read(self, timeout):
        """Reads what there is; False at the end of the program's output."""
        if self._fd is None:
            return False
        ready, _, _ = select.select([self._fd], [], [], timeout)
        if not ready:
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # EIO: nobody holds the other side any more
            data = b""
        self._raw += self._decode.decode(data)
        return bool(data)

    def expect(self, pattern, timeout=30):
        """Waits until `pattern` (a regular expression) shows up after what was matched before; returns the match."""
        end = time.monotonic() + timeout
        while True:
            match = re.compile(pattern).search(self.seen, self._position)
            if match:
                self._position = match.end()
                return match
            left = end - time.monotonic()
            if left <= 0:
                raise WorldError(f"waited {timeout} s for “{pattern}” on the terminal; it shows:\n{self.seen[-3000:]}")
            if not self._read(min(left, 0.5)):
                if re.compile(pattern).search(self.seen, self._position):
                    continue
                raise WorldError(f"the program ended without “{pattern}”; it showed:\n{self.seen[-3000:]}")

    def send(self, text):
        os.write(self._fd, text.encode())

    def answer(self, question, text, timeout=30):
        """Waits for a question, then types an answer and Enter."""
        self.expect(question, timeout)
        self.send(text + ENTER)

    def wait(self, timeout=60):
        """Waits for the program's end; returns its exit code."""
        end = time.monotonic() + timeout
        while self._read(0.2):
            if time.monotonic() > end:
                shown = self.seen[-3000:]
                self.close()
                raise WorldError(f"the program still ran after {timeout} s; it shows:\n{shown}")
        self._collect()
        return self.code

    def _collect(self):
        if self.code is None:
            _, status = os.waitpid(self._pid, 0)
            self.code = os.waitstatus_to_exitcode(status)
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def close(self):
        """Ends the program, inside the host too, if it has not ended by itself."""
        if self.code is not None:
            return
        self._end_inside()
        try:
            os.kill(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._collect()
