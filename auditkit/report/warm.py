"""A process that has everything imported and forks a child for each notebook, and the way to talk to it.

Starting a kernel and importing pandas costs seconds, a fork costs milliseconds. The warm process
(``python -m auditkit.report.warm``) has one thread, so that forking it is safe whatever its caller does.

Protocol, one JSON object a line. On standard input a job: ``{"cells": [[index, source], …], "cwd", "env",
"path"}``. On standard output for each cell ``{"start": index}``, any number of ``{"output": {…}}`` (as in a
notebook) or ``{"clear": wait}``, then ``{"end": index, "count", "ok"}``; ``{"exit": status}`` comes last,
always. The parent ends, and ends its child, when standard input is closed.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

#: Imported before the first fork; a missing one is simply not warm.
WARM = (
    "pandas",
    "pyarrow",
    "psycopg",
    "auditkit.audit.reports",
    "auditkit.report.figures",
    "auditkit.report.parameters",
)
#: Seconds a child has to end by itself after an interrupt.
GRACE = 5.0

Send = Callable[[Mapping[str, Any]], None]


def main() -> None:
    """Serve jobs until standard input is closed."""
    pipe = os.dup(1)  # not inheritable: what a notebook starts cannot hold it open
    os.dup2(2, 1)
    os.set_inheritable(pipe, False)

    def send(message: Mapping[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # nobody listens any more: we are about to be ended
            while data:
                data = data[os.write(pipe, data) :]

    shell = make_shell(send)
    for module in WARM:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    from auditkit.report.html import compile_templates

    compile_templates()
    while line := _line():
        job = json.loads(line)
        alive, held = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(alive)
            status = 1
            try:
                os.setsid()
                # Interrupts meant for the caller's terminal are the caller's to pass on.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                run(shell, job, send)
                status = 0
            finally:
                os._exit(status)
        os.close(held)
        send({"exit": _wait(pid, alive)})


def _line() -> bytes:
    """One line of standard input, read byte by byte so that ``select`` sees whatever is left."""
    parts = []
    while byte := os.read(0, 65536):
        parts.append(byte)
        if byte.endswith(b"\n"):
            break
    return b"".join(parts)


def _wait(pid: int, alive: int) -> int:
    """Wait for the child to end, or end it when our own standard input is closed; return its exit status."""
    while True:
        ready, _, _ = select.select([0, alive], [], [])
        if alive in ready:
            break
        if not os.read(0, 65536):
            stop(pid)
            break
    os.close(alive)
    status = -1
    with contextlib.suppress(ChildProcessError):
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what the notebook started and left running
    return status


def stop(pid: int) -> None:
    """Interrupt a child so that it can clean up, and kill it if it does not."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)


def make_shell(send: Send) -> Any:
    """An IPython shell that sends what a kernel would publish."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Publisher(DisplayPublisher):  # type: ignore[misc]
        def publish(
            self, data: Any, metadata: Any = None, *, transient: Any = None, update: bool = False, **_: Any
        ) -> None:
            kind = "update_display_data" if update else "display_data"
            message = {"output_type": kind, "data": plain(data), "metadata": plain(metadata or {})}
            send({"output": message, "display_id": (transient or {}).get("display_id")})

        def clear_output(self, wait: bool = False) -> None:
            send({"clear": wait})

    class Hook(DisplayHook):  # type: ignore[misc]
        def write_output_prompt(self) -> None:
            pass

        def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
            message = {
                "output_type": "execute_result",
                "data": plain(format_dict),
                "metadata": plain(md_dict or {}),
            }
            send({"output": {**message, "execution_count": self.prompt_count}})

        def finish_displayhook(self) -> None:
            pass

    class Shell(InteractiveShell):  # type: ignore[misc]
        def enable_gui(self, gui: Any = None) -> None:
            pass

        def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
            message = {
                "output_type": "error",
                "ename": getattr(etype, "__name__", str(etype)),
                "evalue": str(evalue),
            }
            send({"output": {**message, "traceback": list(stb)}})

    settings = Config()
    settings.HistoryManager.enabled = False
    settings.InteractiveShell.colors = "nocolor"
    shell = Shell.instance(config=settings, display_pub_class=Publisher, displayhook_class=Hook)
    # A plain shell shows text alone; a notebook wants every format, and the hook while a cell runs.
    shell.display_formatter.active_types = shell.display_formatter.format_types
    shell.display_trap.hook = shell.displayhook
    return shell


def run(shell: Any, job: Mapping[str, Any], send: Send) -> None:
    """Run a job's cells in a child, up to the first that fails."""
    os.environ.clear()
    os.environ.update(job["env"])
    os.chdir(job["cwd"])
    sys.path[:] = job["path"]
    sys.stdout, sys.stderr = Stream("stdout", send), Stream("stderr", send)
    for index, source in job["cells"]:
        send({"start": index})
        result = shell.run_cell(source, store_history=True, silent=False)
        send({"end": index, "count": result.execution_count, "ok": result.success})
        if not result.success:
            return


class Stream(io.TextIOBase):
    """Standard output or error of a cell."""

    encoding = "utf-8"

    def __init__(self, name: str, send: Send) -> None:
        self.stream, self.send = name, send

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if text:
            self.send({"output": {"output_type": "stream", "name": self.stream, "text": text}})
        return len(text)


def plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Display data as JSON: bytes (pictures) in base64, as the notebook format has them."""
    import base64

    return {
        key: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for key, value in data.items()
    }


class Parent:
    """The warm process: started when first needed, again if it died, ended with this one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.pending = b""

    def start(self) -> subprocess.Popen[bytes]:
        """Start warming up, in the background; harmless when it already runs."""
        if self.process is None or self.process.poll() is not None:
            self.pending = b""
            self.process = subprocess.Popen(
                [sys.executable, "-m", "auditkit.report.warm"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        return self.process

    def stop(self) -> None:
        """End the warm process and whatever runs in it."""
        process, self.process = self.process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            process.wait(GRACE + 2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def submit(self, job: Mapping[str, Any]) -> None:
        """Hand over a job; the lock is the caller's."""
        stdin = self.start().stdin
        assert stdin is not None
        stdin.write(json.dumps(job).encode() + b"\n")
        stdin.flush()

    def receive(self, timeout: float | None) -> dict[str, Any] | None:
        """The next message, ``None`` after *timeout* seconds without one.

        Raises:
            EOFError: the warm process died.
        """
        assert self.process is not None and self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self.pending:
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            if not select.select([descriptor], [], [], left)[0]:
                return None
            part = os.read(descriptor, 1 << 20)
            if not part:
                raise EOFError
            self.pending += part
        line, _, self.pending = self.pending.partition(b"\n")
        return dict(json.loads(line))


PARENT = Parent()
atexit.register(PARENT.stop)


if __name__ == "__main__":
    main()
