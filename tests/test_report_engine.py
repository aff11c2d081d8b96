"""The warm engine gives what a kernel gives, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
import pytest
from papermill.exceptions import PapermillExecutionError

from auditkit.report.engine import register
from auditkit.report.warm import PARENT

CELLS = [
    "import sys, os\nprint('out'); print('more'); print('err', file=sys.stderr)",
    "import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})",
    "from IPython.display import HTML, Markdown, display\ndisplay(HTML('<b>bold</b>'))\ndisplay(Markdown('# m'))",
    "class Two:\n    def __repr__(self):\n        return 'two'\n"
    "    def _repr_mimebundle_(self, include=None, exclude=None):\n"
    "        return {'text/html': '<i>two</i>', 'application/json': {'n': 2}}\nTwo()",
    "handle = display('before', display_id='one')\nhandle.update('after')",
    "from IPython.display import clear_output\nprint('gone'); clear_output(); print('stays')",
    "class Png:\n    def __repr__(self):\n        return 'png'\n"
    "    def _repr_png_(self):\n        return b'\\x89PNG bytes'\nPng()",
    "x = 41",
    "x + 1",
    "%%time\npass",
    "import asyncio\nawait asyncio.sleep(0)\n'awaited'",
    "_ , In[-1][:4], Out[9]",
]


def notebook(path: Path, cells: list[str]) -> Path:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)
    return path


def execute(path: Path, engine: str | None = None, **options: Any) -> Any:
    return papermill.execute_notebook(
        str(path),
        str(path.with_suffix(".out.ipynb")),
        engine_name=engine or register(),
        progress_bar=False,
        **options,
    )


def shape(executed: Any) -> list[Any]:
    """Outputs without what differs between two runs by nature: times, traceback frames, and in how many pieces a
    stream arrives."""
    shapes = []
    for cell in executed.cells:
        outputs: list[Any] = []
        streams: dict[str, str] = {}
        for output in cell.outputs:
            if output.output_type == "stream":
                streams[output.name] = streams.get(output.name, "") + output.text
            elif output.output_type == "error":
                outputs.append((output.ename, output.evalue))
            else:
                outputs.append((output.output_type, output.data, output.get("execution_count")))
        outputs += [(name, "time" if "Wall time" in text else text) for name, text in streams.items()]
        shapes.append((cell.execution_count, sorted(outputs, key=str)))
    return shapes


def test_outputs_are_those_of_a_kernel(tmp_path: Path) -> None:
    path = notebook(tmp_path / "all.ipynb", CELLS)
    assert shape(execute(path)) == shape(execute(path, "nbclient"))


def test_data_frames_keep_their_html(tmp_path: Path) -> None:
    (output,) = execute(notebook(tmp_path / "frame.ipynb", CELLS[1:2])).cells[0].outputs
    assert sorted(output.data) == ["text/html", "text/plain"]


def test_an_error_stops_the_notebook_and_is_in_it(tmp_path: Path) -> None:
    path = notebook(tmp_path / "error.ipynb", ["print('first')", "1 / 0", "print('never')"])
    with pytest.raises(PapermillExecutionError, match="ZeroDivisionError"):
        execute(path)
    kept = nbformat.read(path.with_suffix(".out.ipynb"), as_version=4)
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert [output.output_type for cell in code for output in cell.outputs] == ["stream", "error"]
    assert code[1].outputs[0].ename == "ZeroDivisionError"
    assert "1 / 0" in "\n".join(code[1].outputs[0].traceback)


def test_a_cell_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    path = notebook(tmp_path / "slow.ipynb", ["import time\nprint('begun')\ntime.sleep(600)"])
    with pytest.raises(PapermillExecutionError, match="CellTimeoutError: the cell took longer than 1 second"):
        execute(path, execution_timeout=1)
    assert shape(execute(notebook(tmp_path / "next.ipynb", ["1 + 1"]))) == [
        (1, [("execute_result", {"text/plain": "2"}, 1)])
    ]


def test_a_process_that_dies_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PapermillExecutionError, match="DeadKernelError"):
        execute(notebook(tmp_path / "dead.ipynb", ["import os\nos._exit(3)"]))
    with pytest.raises(PapermillExecutionError, match="DeadKernelError"):
        execute(
            notebook(tmp_path / "killed.ipynb", ["import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"])
        )


def test_notebooks_do_not_see_each_other(tmp_path: Path) -> None:
    execute(
        notebook(
            tmp_path / "one.ipynb",
            ["secret = 1\nimport os, sys\nos.environ['LEFT'] = '1'\nsys.path.append('/left')"],
        )
    )
    second = notebook(
        tmp_path / "two.ipynb",
        ["import os, sys\n'secret' in globals(), 'LEFT' in os.environ, '/left' in sys.path"],
    )
    assert execute(second).cells[0].outputs[0].data["text/plain"] == "(False, False, False)"


def test_the_notebook_has_the_callers_environment_and_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SET_AFTER_WARMING", "yes")
    path = notebook(tmp_path / "where.ipynb", ["import os\nos.environ['SET_AFTER_WARMING'] + os.getcwd()"])
    made = execute(path, cwd=str(tmp_path))
    assert made.cells[0].outputs[0].data["text/plain"] == repr(f"yes{tmp_path}")


def test_what_a_notebook_starts_ends_with_it(tmp_path: Path) -> None:
    source = "import subprocess\nprint(subprocess.Popen(['sleep', '600']).pid)"
    made = execute(notebook(tmp_path / "child.ipynb", [source]))
    pid = int(made.cells[0].outputs[0].text)
    assert _gone(pid)


def test_nothing_outlives_the_caller(tmp_path: Path) -> None:
    """Killed in the middle of a cell, the caller takes the warm process, the child and its work along."""
    path = notebook(
        tmp_path / "long.ipynb",
        [
            "import time, os, pathlib\npathlib.Path('pids').write_text(f'{os.getpid()} {os.getppid()}')\ntime.sleep(600)"
        ],
    )
    script = textwrap.dedent(
        f"""
        import papermill
        from auditkit.report.engine import register
        papermill.execute_notebook({str(path)!r}, None, engine_name=register(), progress_bar=False, cwd={str(tmp_path)!r})
        """
    )
    caller = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text():
        assert time.monotonic() < deadline and caller.poll() is None
        time.sleep(0.05)
    caller.kill()
    caller.wait()
    assert [_gone(int(pid)) for pid in (tmp_path / "pids").read_text().split()] == [True, True]


def test_one_warm_process_serves_many_notebooks(tmp_path: Path) -> None:
    path = notebook(tmp_path / "parent.ipynb", ["import os\nos.getppid()"])
    parents = {execute(path).cells[0].outputs[0].data["text/plain"] for _ in range(2)}
    assert PARENT.process is not None
    assert parents == {str(PARENT.process.pid)}


def test_the_engine_is_known_to_papermill_as_installed(tmp_path: Path) -> None:
    path = notebook(tmp_path / "cli.ipynb", ["'by name'"])
    out = tmp_path / "cli.out.ipynb"
    command = [
        sys.executable,
        "-m",
        "papermill",
        "--engine",
        "auditkit-warm",
        "--no-progress-bar",
        str(path),
        str(out),
    ]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    assert nbformat.read(out, as_version=4).cells[0].outputs[0].data["text/plain"] == "'by name'"


def _gone(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    try:
        psutil.Process(pid).wait(timeout=10)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True
