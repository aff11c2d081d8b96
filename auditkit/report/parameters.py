"""Notebook parameters: what a notebook declares, and an error instead of silence when a name is misspelt.

papermill only warns about a parameter it does not know, and then audits the default: the wrong database.
So the values are checked twice, before execution and in the notebook itself (which covers raw papermill).
"""

from __future__ import annotations

import ast
import difflib
import functools
import io
import json
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditkit.errors import ConfigError
from auditkit.report.document import SEVERITIES

NOTEBOOKS = ("root_cause", "scheduled_audit", "pre_deployment", "post_deploy_review", "resolution")
_TYPES: dict[str, tuple[type, str]] = {
    "str": (str, "text"),
    "int": (int, "a whole number"),
    "bool": (bool, "true or false"),
}
_CHOICES = {"fail_on": SEVERITIES}
#: papermill writes every value into the notebook it leaves behind, so none may carry connection details.
_CONNECTION = re.compile(
    r"\w://|\b(?:host|hostaddr|user|password|passfile|dbname|service|sslmode|sslkey)\s*=", re.IGNORECASE
)


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's parameters cell: its name, type, default and the comment that explains it."""

    name: str
    type: str
    default: Any
    help: str


def notebook_path(name: str) -> Path:
    """Where the notebook of this name is: inside the installed package, or in the repository.

    Raises:
        ConfigError: there is no such notebook.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "notebooks", package.parent / "notebooks"):
        file = folder / f"{name}.ipynb"
        if name in NOTEBOOKS and file.is_file():
            return file
    raise ConfigError(
        f"there is no notebook {name!r}{_meant(name, NOTEBOOKS)}; there are {', '.join(NOTEBOOKS)}"
    )


@functools.cache
def declared(notebook: str) -> dict[str, Parameter]:
    """The parameters of a notebook, in their order, from its cell tagged ``parameters``."""
    cells = json.loads(notebook_path(notebook).read_text("utf-8"))["cells"]
    source = next("".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", ()))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {
        token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT
    }
    return {
        node.target.id: Parameter(
            node.target.id,
            ast.unparse(node.annotation),
            ast.literal_eval(node.value),
            comments.get(node.lineno, ""),
        )
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
    }


def validate(notebook: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return *values* if the notebook declares every one of them with that type.

    Raises:
        ConfigError: a name is unknown, a type is wrong, a word is not one of those allowed, or a value holds
            connection details; the value itself is not repeated, as it might be a secret.
    """
    known = declared(notebook)
    for name, value in values.items():
        if name not in known:
            raise ConfigError(
                f"{notebook} has no parameter {name!r}{_meant(name, known)}; its parameters are {', '.join(known)}"
            )
        wanted, words = _TYPES[known[name].type]
        if type(value) is not wanted:
            raise ConfigError(
                f"{notebook}: {name} must be {words} ({wanted.__name__}), not {type(value).__name__}; "
                f"its default is {known[name].default!r}"
            )
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ConfigError(
                f"{notebook}: {name} must be one of {', '.join(_CHOICES[name])}{_meant(value, _CHOICES[name])}"
            )
        if isinstance(value, str) and _CONNECTION.search(value):
            raise ConfigError(
                f"{notebook}: {name} holds connection details, which every notebook would keep; "
                "name the environment under [environments] in auditkit.toml and pass its name"
            )
    return dict(values)


def check_parameters(namespace: Mapping[str, Any], notebook: str) -> dict[str, Any]:
    """Check the parameters inside a running notebook: ``check_parameters(globals(), "root_cause")``.

    Args:
        namespace: the notebook's globals; what papermill injected is found in its input history ``In``.
        notebook: the notebook's name.

    Returns:
        The values by name.

    Raises:
        ConfigError: see :func:`validate`.
    """
    injected = [
        name for source in namespace.get("In", ()) if _is_injected(source) for name in _assigned(source)
    ]
    return validate(
        notebook, {name: namespace[name] for name in [*declared(notebook), *injected] if name in namespace}
    )


def _is_injected(source: str) -> bool:
    return source.lstrip().startswith("# Parameters\n")


def _assigned(source: str) -> list[str]:
    return [
        target.id
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]


def _meant(word: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
