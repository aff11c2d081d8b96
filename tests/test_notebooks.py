"""The notebooks keep the rules of the house, and their parameters cannot be misspelt."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from auditkit.errors import ConfigError
from auditkit.report import parameters
from auditkit.report.engine import register

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PARAMETERS = {
    "root_cause": ["environment", "baseline", "schemas", "focus", "since", "config", "out_dir"],
    "scheduled_audit": ["environments", "baseline", "history_dir", "fail_on", "config", "out_dir"],
    "resolution": ["environment", "resolve", "plan_file", "tool_commands", "config", "out_dir"],
    "pre_deployment": ["environment", "expected_version", "snapshot", "config", "out_dir"],
    "post_deploy_review": ["before", "environment", "expected_version", "deployed_at", "config", "out_dir"],
}
every = pytest.mark.parametrize("name", parameters.NOTEBOOKS)


def read(name: str) -> Any:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def code(name: str) -> list[Any]:
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def test_there_are_four() -> None:
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == sorted(parameters.NOTEBOOKS)


@every
def test_short(name: str) -> None:
    """Twelve cells for a report; following one finding takes five more, and one is the reader's own."""
    cells = code(name)
    assert len(cells) <= (18 if name == "root_cause" else 12)
    for cell in cells:
        if "parameters" not in cell.metadata.get("tags", ()):
            assert len(cell.source.splitlines()) <= 6


@every
def test_thin(name: str) -> None:
    """No definitions, no loops, no SQL: what a notebook does is one call that can be tested elsewhere."""
    for cell in code(name):
        tree = ast.parse(cell.source)
        banned = (
            ast.FunctionDef,
            ast.ClassDef,
            ast.For,
            ast.While,
            ast.If,
            ast.Try,
            ast.Lambda,
            ast.comprehension,
        )
        assert not [node for node in ast.walk(tree) if isinstance(node, banned)]
        assert not re.search(r"\bselect\b|\bfrom\s+pg_", cell.source, re.IGNORECASE)


@every
def test_each_code_cell_follows_a_question(name: str) -> None:
    cells = read(name).cells
    for before, cell in itertools.pairwise(cells):
        if cell.cell_type == "code":
            assert before.cell_type == "markdown"
            assert "?" in before.source


@every
def test_parameters_are_declared_first_and_checked_next(name: str) -> None:
    cells = code(name)
    assert cells[0].metadata["tags"] == ["parameters"]
    assert f'report.check_parameters(globals(), "{name}")' in cells[1].source
    assert [cell.metadata.get("tags") for cell in cells[1:]] == [None] * (len(cells) - 1)
    declared = parameters.declared(name)
    assert list(declared) == PARAMETERS[name]
    for parameter in declared.values():
        assert parameter.type in ("str", "int", "bool")
        assert parameter.help


@every
def test_papermill_reads_the_same_parameters(name: str) -> None:
    known = papermill.inspect_notebook(str(NOTEBOOKS / f"{name}.ipynb"))
    assert {key: (value["inferred_type_name"], value["help"]) for key, value in known.items()} == {
        parameter.name: (parameter.type, parameter.help) for parameter in parameters.declared(name).values()
    }


@every
def test_nothing_of_a_run_is_committed(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.nbformat_minor >= 5
    for cell in code(name):
        assert (cell.outputs, cell.execution_count) == ([], None)
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids))
    assert not [key for key in ids if not re.fullmatch(r"[a-z][a-z0-9-]*", key)]
    assert set(notebook.metadata) <= {"kernelspec", "jupytext", "language_info"}


@every
def test_the_text_version_is_in_step(name: str) -> None:
    """``make notebooks`` brings both together after an edit of either."""
    text = jupytext.read(NOTEBOOKS / f"{name}.py")
    cells = [(cell.cell_type, cell.source, cell.metadata.get("tags")) for cell in text.cells]
    assert cells == [(cell.cell_type, cell.source, cell.metadata.get("tags")) for cell in read(name).cells]


@every
def test_the_notebook_is_found(name: str) -> None:
    assert parameters.notebook_path(name) == NOTEBOOKS / f"{name}.ipynb"


@pytest.mark.parametrize(
    ("word", "hint"), [("rootcause", "did you mean 'root_cause'"), ("../x", "there are root_cause")]
)
def test_an_unknown_notebook(word: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        parameters.notebook_path(word)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("root_cause", {"enviroment": "staging"}, "no parameter 'enviroment'; did you mean 'environment'"),
        ("root_cause", {"zzz": ""}, "its parameters are environment, baseline"),
        ("root_cause", {"environment": 3}, r"environment must be text \(str\), not int"),
        ("root_cause", {"environment": None}, "environment must be text"),
        (
            "scheduled_audit",
            {"fail_on": "hihg"},
            "one of critical, high, medium, low, info; did you mean 'high'",
        ),
    ],
)
def test_wrong_parameters(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parameters.validate(name, values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://auditor:canary@db.example.org/shop",
        "host=db password=canary",
        "service = app_canary",
        "postgres:///?password=canary",
        "PASSWORD='canary'",
    ],
)
def test_connection_details_are_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(ConfigError, match="name the environment") as caught:
        parameters.validate("root_cause", {"environment": value})
    assert "canary" not in str(caught.value)


def test_right_parameters() -> None:
    values = {"environments": "staging, production", "fail_on": "high", "history_dir": "/srv/a=b/reports"}
    assert parameters.validate("scheduled_audit", values) == values


@pytest.mark.parametrize("engine", [None, "nbclient"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"enviroment": "staging"},
            "ConfigError: root_cause has no parameter 'enviroment'; did you mean 'environment'",
        ),
        ({"environment": 3}, "ConfigError: root_cause: environment must be text (str), not int"),
    ],
)
def test_raw_papermill_stops_at_a_wrong_parameter(
    tmp_path: Path, engine: str | None, values: dict[str, Any], message: str
) -> None:
    """papermill itself only warns, and would audit the default environment."""
    out = tmp_path / "out.ipynb"
    with pytest.raises(PapermillExecutionError) as caught:
        papermill.execute_notebook(
            str(NOTEBOOKS / "root_cause.ipynb"),
            str(out),
            values,
            engine_name=engine or register(),
            progress_bar=False,
        )
    assert message in str(caught.value)
    errors = [
        o for c in nbformat.read(out, 4).cells for o in c.get("outputs", ()) if o.output_type == "error"
    ]
    assert len(errors) == 1
    assert len("\n".join(errors[0].traceback).splitlines()) == 1  # one clear line, no source


def test_checking_again_in_an_open_notebook() -> None:
    """What later cells define is no parameter; what papermill injected is."""
    cells = ["environment: str = 'production'", "# Parameters\nenvironment = 'staging'\n", "audit = 1"]
    names = {"environment": "staging", "audit": 1, "In": ["", *cells]}
    assert parameters.check_parameters(names, "root_cause") == {"environment": "staging"}
    names["In"].append("# Parameters\nenvironmnt = 'x'\n")
    names["environmnt"] = "x"
    with pytest.raises(ConfigError, match="'environmnt'"):
        parameters.check_parameters(names, "root_cause")
