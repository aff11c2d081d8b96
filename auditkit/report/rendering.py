"""From a notebook's name to a directory with its page: papermill runs it, nbconvert and our template show it.

A run is ``<out_dir>/<date>-<notebook>-<digest>/{index.html,audit.json,notebook.ipynb}``, and
``<out_dir>/index.html`` lists all of them. A run appears whole or not at all.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditkit.connect import redact
from auditkit.errors import AuditError, NotebookFailed
from auditkit.report import document as doc
from auditkit.report.document import Audit, document_of
from auditkit.report.figures import MIMETYPE
from auditkit.report.html import runs_page, static, without_style
from auditkit.report.parameters import notebook_path, validate
from auditkit.report.warm import PARENT

#: Tag of cells that belong to the notebook but not to the page.
HIDDEN = "setup"
#: Environment variables whose value must not occur in anything written.
SECRETS = ("PGPASSWORD", "SUPABASE_DB_PASSWORD", "SUPABASE_ACCESS_TOKEN")
_ENVIRONMENT = threading.Lock()


@dataclass(frozen=True)
class RunDir:
    """A finished run and its three files."""

    path: Path
    audit: Audit

    @property
    def index(self) -> Path:
        """The page."""
        return self.path / "index.html"

    @property
    def audit_file(self) -> Path:
        """The document."""
        return self.path / "audit.json"

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return self.path / "notebook.ipynb"


def render(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    document: Audit | Mapping[str, Any] | None = None,
    out_dir: str | os.PathLike[str] = "reports",
    *,
    engine: str | None = None,
    timeout: float = 1800,
    progress: bool | None = None,
    interactive: bool = True,
) -> RunDir:
    """Run a notebook and write its report.

    Args:
        name: ``root_cause``, ``scheduled_audit`` or ``post_deploy_review``.
        parameters: values for the notebook's parameters; none may hold connection details.
        document: the audit, if it has been computed already; otherwise the notebook computes it.
        out_dir: the reports directory.
        engine: papermill's engine: ``auditkit-warm`` (default) or ``nbclient``, with a kernel of its own.
        timeout: seconds for each cell.
        progress: a bar on standard error; by default if that is a terminal.
        interactive: carry the chart library (1.5 MB); without it every chart is a drawing.

    Raises:
        ConfigError: the notebook or a parameter is unknown or wrong; nothing was run.
        NotebookFailed: a cell failed; the executed notebook is kept and named.
    """
    source = notebook_path(name)
    values = validate(name, parameters or {})
    root = Path(out_dir)
    root.mkdir(parents=True, exist_ok=True)
    work = root / f".{name}-{os.getpid()}-{threading.get_ident()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        if document is not None:
            doc.save_audit(scrubbed(document_of(document)), work / "audit.json")
        notebook = _execute(source, work, values, engine, timeout, progress)
        if not (work / "audit.json").is_file():
            raise NotebookFailed(f"{name}: the notebook kept no audit; it must call audit.keep(out_dir)")
        audit = Audit(scrubbed(doc.load_audit(work / "audit.json").document))
        audit.save(work / "audit.json")
        (work / "index.html").write_text(page(notebook, audit, interactive=interactive), "utf-8")
        digest = doc.fingerprint(audit)[:8]
        final = root / f"{str(audit.document['created_at'])[:10]}-{name}-{digest}"
        shutil.rmtree(final, ignore_errors=True)
        work.rename(final)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    write_index(root)
    return RunDir(final, audit)


def write_index(out_dir: str | os.PathLike[str]) -> Path:
    """Write ``index.html`` of a reports directory, from the runs that are there."""
    root = Path(out_dir)
    temporary = root / f".index-{os.getpid()}-{threading.get_ident()}.html"
    temporary.write_text(runs_page(doc.past_runs(root)), "utf-8")
    return temporary.replace(root / "index.html")


def _execute(
    source: Path,
    work: Path,
    values: Mapping[str, Any],
    engine: str | None,
    timeout: float,
    progress: bool | None,
) -> Any:
    """Run the notebook; return the executed notebook, which is also written, without secrets, to *work*."""
    if engine is None and hasattr(os, "fork"):
        PARENT.start()  # it warms up while papermill is imported
    import nbformat
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    from auditkit.report.engine import register

    target = work / "notebook.ipynb"
    logging.getLogger("papermill").setLevel(logging.ERROR)
    bar = {"desc": source.stem, "file": sys.stderr, "leave": False} if _shows(progress) else False
    failure = None
    with _handing_over(work / "audit.json"):
        try:
            execute_notebook(
                str(source),
                str(target),
                parameters=dict(values),
                engine_name=engine or register(),
                execution_timeout=timeout,
                progress_bar=bar,
                request_save_on_cell_execute=False,  # nothing is on disk before it is free of secrets
            )
        except PapermillExecutionError as error:
            failure = error
    notebook = nbformat.read(target, as_version=4) if target.is_file() else None
    if failure is not None:
        raise _failed(failure, notebook, source.stem, work)
    notebook = _tidy(notebook, source.name)
    nbformat.write(notebook, target)
    return notebook


def _shows(progress: bool | None) -> bool:
    return sys.stderr.isatty() if progress is None else progress


@contextlib.contextmanager
def _handing_over(audit_file: Path) -> Iterator[None]:
    """Tell the notebook where its document is, or is to be written; one notebook at a time."""
    with _ENVIRONMENT:
        before = os.environ.get(doc.HANDED_OVER)
        os.environ[doc.HANDED_OVER] = str(audit_file.resolve())
        try:
            yield
        finally:
            if before is None:
                del os.environ[doc.HANDED_OVER]
            else:
                os.environ[doc.HANDED_OVER] = before


def _failed(error: Any, notebook: Any, name: str, work: Path) -> AuditError:
    """Keep the executed notebook beside the runs and say in one line which cell failed and why."""
    import nbformat

    kept = work.parent / f"failed-{name}-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}.ipynb"
    if notebook is not None:
        nbformat.write(_tidy(notebook, f"{name}.ipynb"), kept)
    lines = [line.strip() for line in scrub(str(error.evalue)).splitlines() if line.strip()]
    return NotebookFailed(
        f"{name}: cell {error.exec_count or error.cell_index + 1} failed: {error.ename}: "
        f"{lines[0] if lines else 'no message'}; the executed notebook is {kept}"
    )


def _tidy(notebook: Any, name: str) -> Any:
    """The notebook without secrets and without paths of the machine that ran it."""
    import nbformat

    tidy = scrubbed(notebook)
    papermill = tidy["metadata"].get("papermill", {})
    papermill |= {"input_path": name, "output_path": "notebook.ipynb", "environment_variables": {}}
    return nbformat.from_dict(tidy)


def scrub(text: str) -> str:
    """A text without passwords: those that look like one, and those this process was given."""
    for key in SECRETS:
        value = os.environ.get(key, "")
        if len(value) >= 4:
            text = text.replace(value, "***")
    return redact(text)


def scrubbed(value: Any) -> Any:
    """A copy of JSON data with every text scrubbed."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {key: scrubbed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed(item) for item in value]
    return value


# ---------------------------------------------------------------- the page


def page(notebook: Any, audit: Audit | Mapping[str, Any], *, interactive: bool = True) -> str:
    """The HTML page of an executed notebook: one file that fetches nothing.

    Scripts are allowed by their hashes alone, so that a script that came out of a catalog would not run even
    if it were not escaped.
    """
    from nbconvert.exporters import TemplateExporter

    document = document_of(audit)
    charts = interactive and any(MIMETYPE in out.get("data", {}) for out in _outputs(notebook))
    scripts = [*([static("plotly-cartesian.min.js")] if charts else []), static("report.js")]
    title, sections = _headings(notebook)
    made = f"{document['tool']['name']} {document['tool']['version']}, {document['created_at']}"
    resources = {
        "auditkit": {
            "title": f"{document['verdict']}: {title}",
            "sections": sections,
            "css": static("report.css"),
            "scripts": scripts,
            "policy": policy(scripts),
            "footer": f"Made by {made}, from audit.json ({document['format']}), "
            f"digest {doc.fingerprint(document)[:16]}. This page fetches nothing.",
        }
    }
    # Not HTMLExporter's own method, which parses and rewrites the finished page to add alt texts to images.
    html, _ = TemplateExporter.from_notebook_node(_exporter(), notebook, resources=resources)
    return str(html)


@functools.cache
def _exporter() -> Any:
    """nbconvert with our template and nothing of its own page."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    settings = Config()
    settings.TagRemovePreprocessor.remove_cell_tags = {HIDDEN}
    settings.HTMLExporter.preprocessors = ["nbconvert.preprocessors.TagRemovePreprocessor"]
    return HTMLExporter(
        config=settings,
        template_name="notebook",
        extra_template_basedirs=[str(Path(__file__).with_name("templates"))],
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        filters={"without_style": without_style, "script_json": script_json, "heading_ids": heading_ids},
    )


def policy(scripts: Sequence[str]) -> str:
    """A content security policy under which exactly these scripts run and nothing is fetched."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def script_json(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _outputs(notebook: Any) -> Iterator[Mapping[str, Any]]:
    for cell in notebook.cells:
        yield from cell.get("outputs", ())


def _headings(notebook: Any) -> tuple[str, list[tuple[str, str]]]:
    """The notebook's title, and id and text of each section."""
    lines = [
        line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()
    ]
    title = next((line[2:] for line in lines if line.startswith("# ")), "Audit")
    return title, [(slug(line[3:]), line[3:]) for line in lines if line.startswith("## ")]


def heading_ids(html: str) -> str:
    """Give each section heading of a notebook's prose the id that the navigation links to."""
    return re.sub(r"<h2>(.*?)</h2>", lambda match: f'<h2 id="{slug(match[1])}">{match[1]}</h2>', html)


def slug(text: str) -> str:
    """A heading as an id."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))
