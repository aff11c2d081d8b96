"""Progress on standard error: a bar on a terminal, silence in a pipe or with ``--quiet``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

#: What long work calls: (done, total, what is being done).
Tell = Callable[[int, int, str], None]


class Progress:
    """Called with (done, total, label); keeps one bar per task. Usable from several threads."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet or not sys.stderr.isatty()
        self._bar: Any = None
        self._lock = threading.Lock()

    def __call__(self, done: int, total: int, label: str) -> None:
        if self.quiet:
            return
        with self._lock:
            from tqdm import tqdm

            if self._bar is None or self._bar.total != total:
                self._close()
                self._bar = tqdm(
                    total=total,
                    leave=False,
                    dynamic_ncols=True,
                    bar_format="{desc} {bar} {n_fmt}/{total_fmt}",
                )
            self._bar.set_description_str(label[:60])
            self._bar.n = done
            self._bar.refresh()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()


def silent(done: int, total: int, label: str) -> None:
    """Progress for those who want none."""
