"""A papermill engine that runs notebooks in children of a warm process instead of a kernel: ``auditkit-warm``.

Outputs are those that the stock engine gives; a report after the first costs a fork instead of a kernel
start and the imports. Where there is no ``fork`` (Windows) the stock engine does the work.

Import papermill before this module: it imports this module itself, through our entry point.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from nbformat import NotebookNode, from_dict
from papermill.engines import Engine, NBClientEngine, papermill_engines

from auditkit.report.warm import PARENT

NAME = "auditkit-warm"


class WarmEngine(Engine):  # type: ignore[misc]
    """papermill's interface to the warm process."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, execution_timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Execute the notebook; ``execution_timeout`` (or ``timeout``) is in seconds, for each cell."""
        if not hasattr(os, "fork"):
            NBClientEngine.execute_managed_notebook(
                nb_man, kernel_name, execution_timeout=execution_timeout, **kwargs
            )
            return
        with PARENT.lock:
            _Run(nb_man, execution_timeout or kwargs.get("timeout")).execute()


class _Run:
    """One notebook: messages in, outputs written into its cells."""

    def __init__(self, manager: Any, timeout: float | None) -> None:
        self.manager, self.timeout = manager, timeout
        self.cells: list[NotebookNode] = manager.nb.cells
        self.count = 0
        self.current: int | None = None
        self.displayed: dict[str, list[NotebookNode]] = {}
        self.clear_next = False

    def execute(self) -> None:
        code = [
            [i, cell.source]
            for i, cell in enumerate(self.cells)
            if cell.cell_type == "code" and cell.source.strip()
        ]
        job = {"cells": code, "cwd": str(os.getcwd()), "env": dict(os.environ), "path": sys.path}  # noqa: PTH109
        PARENT.submit(job)
        try:
            self.listen()
        except BaseException:
            PARENT.stop()  # interrupted: the child, which may be anywhere, goes with its parent
            raise

    def listen(self) -> None:
        while True:
            try:
                message = PARENT.receive(self.timeout if self.current is not None else None)
            except EOFError:
                self.fail("DeadKernelError", "the process running the notebook died")
                PARENT.stop()
                return
            if message is None:
                self.fail("CellTimeoutError", f"the cell took longer than {self.timeout:g} seconds")
                PARENT.stop()
                return
            if "exit" in message:
                if self.current is not None:
                    self.fail(
                        "DeadKernelError",
                        f"the process running the notebook ended with status {message['exit']}",
                    )
                return
            self.take(message)

    def take(self, message: Mapping[str, Any]) -> None:
        if "start" in message:
            self.current = message["start"]
            self.manager.cell_start(self.cells[message["start"]], message["start"])
        elif "end" in message:
            index, cell = message["end"], self.cells[message["end"]]
            cell.execution_count = self.count = message["count"]
            self.current = None
            if not message["ok"]:
                self.manager.cell_exception(cell, index)
            self.manager.cell_complete(cell, index)
        elif "clear" in message and self.current is not None:
            if message["clear"]:
                self.clear_next = True
            else:
                self.cells[self.current].outputs = []
        elif "output" in message and self.current is not None:
            self.add(self.cells[self.current], from_dict(message["output"]), message.get("display_id"))

    def add(self, cell: NotebookNode, output: NotebookNode, display_id: str | None) -> None:
        if output.output_type == "update_display_data":
            for shown in self.displayed.get(display_id or "", ()):
                shown.data, shown.metadata = output.data, output.metadata
            return
        if self.clear_next:
            cell.outputs, self.clear_next = [], False
        last = cell.outputs[-1] if cell.outputs else None
        if output.output_type == "stream" and last and last.get("name") == output.name:
            last.text += output.text
            return
        if display_id:
            self.displayed.setdefault(display_id, []).append(output)
        cell.outputs.append(output)

    def fail(self, name: str, says: str) -> None:
        """Record that the cell that runs (or the first, if none does) ended without an answer."""
        index = self.current if self.current is not None else 0
        cell = self.cells[index]
        if cell.cell_type == "code":
            cell.execution_count = self.count + 1
            error = {"output_type": "error", "ename": name, "evalue": says, "traceback": [f"{name}: {says}"]}
            cell.outputs.append(from_dict(error))
        self.manager.cell_exception(cell, index)
        self.manager.cell_complete(cell, index)


def register() -> str:
    """Make the engine known to papermill and return its name."""
    papermill_engines.register(NAME, WarmEngine)
    return NAME
