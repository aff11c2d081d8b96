"""The rules of the house that no other test would notice: layering, imports, generated pages, metadata."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from project import environment

from auditkit.catalog.kinds import KINDS
from auditkit.causes.registry import CAUSES

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "auditkit"
#: From left to right; nothing imports from its right. Rooms of one group may know each other.
ROOMS = (
    ("errors",),
    ("config", "connect", "frames", "progress", "server", "visible"),
    ("catalog",),
    ("history",),
    ("causes",),
    ("resolve",),
    ("policy",),
    ("report",),
    ("schedule",),
    ("audit",),
    ("doctor",),
    ("demo",),
    ("cli",),
    ("__main__",),
)
PLACE = {room: place for place, group in enumerate(ROOMS) for room in group}
HEAVY = {
    "pandas",
    "plotly",
    "pyarrow",
    "numpy",
    "papermill",
    "nbconvert",
    "nbclient",
    "nbformat",
    "jinja2",
    "IPython",
}


def _tracked(*patterns: str) -> list[Path]:
    """The files of the repository, or all of a source archive."""
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    folders = ("auditkit", "tests", "docs", "notebooks", "benchmarks")
    return [
        file for folder in folders for file in (ROOT / folder).rglob("*.*") if "__pycache__" not in file.parts
    ]


def _room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(tree: ast.AST) -> Iterator[str]:
    """Full names of what is imported from the package, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are written in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_module_has_its_room() -> None:
    rooms = {_room(file) for file in PACKAGE.rglob("*.py")} - {"__init__"}
    assert rooms == set(PLACE)


def test_nothing_imports_from_its_right() -> None:
    wrong = []
    for file in PACKAGE.rglob("*.py"):
        if file == PACKAGE / "__init__.py":
            continue  # the front door: its functions lead everywhere
        for name in _imports(ast.parse(file.read_text("utf-8"))):
            room = name.split(".")[1] if name.startswith("auditkit.") else ""
            if room in PLACE and PLACE[room] > PLACE[_room(file)]:
                wrong.append(f"{file.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_heavy_packages_are_imported_where_they_are_used() -> None:
    """Only rendering and the papermill engine, which are themselves imported late, may do it at the top."""
    late = {
        "report/engine.py",
        "report/html.py",
        "report/figures.py",
        "report/rendering.py",
        "report/warm.py",
    }
    wrong = []
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        top = ast.Module([n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)], [])
        names = {name.partition(".")[0] for name in _imports(top)} & HEAVY
        if names and file.relative_to(PACKAGE).as_posix() not in late:
            wrong.append(f"{file.relative_to(ROOT)}: {', '.join(sorted(names))}")
    assert wrong == []


@pytest.mark.parametrize(
    "code",
    [
        "import auditkit",
        "import auditkit.cli, auditkit.config",
        "import auditkit.audit",  # all that `auditkit diff` needs
        "import auditkit.doctor",
    ],
)
def test_imports_stay_light(code: str) -> None:
    script = f"import sys; {code}; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment())
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_no_file_is_too_long_to_be_read() -> None:
    long = {
        str(f.relative_to(ROOT)): n
        for f in PACKAGE.rglob("*.py")
        if (n := f.read_text("utf-8").count("\n")) > 1600
    }
    assert long == {}


# --- generated pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "command"),
    [
        ("kinds.md", ["-m", "auditkit.catalog.kinds"]),
        ("causes.md", ["-m", "auditkit.causes.registry"]),
        ("cli.md", ["docs/cli.py"]),
        ("sql.md", ["docs/sql.py"]),
    ],
)
def test_generated_pages_are_current(page: str, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, encoding="utf-8", env=environment()
    )
    assert done.returncode == 0, done.stderr
    assert (ROOT / "docs" / page).read_text("utf-8") == done.stdout, f"run `make docs`: docs/{page} is old"
    assert f"python {' '.join(command)} > docs/{page}" in (ROOT / "Makefile").read_text("utf-8")


def test_every_link_between_pages_leads_somewhere() -> None:
    wrong = []
    for file in _tracked("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", file.read_text("utf-8")):
            if (
                "://" not in target
                and not target.startswith("mailto:")
                and not (file.parent / target).exists()
            ):
                wrong.append(f"{file.relative_to(ROOT)}: {target}")
    assert wrong == []


def test_pages_that_messages_name_exist() -> None:
    """A message that says "see docs/x.md" must not send anybody into the void."""
    named = {
        page
        for file in PACKAGE.rglob("*.py")
        for page in re.findall(r"docs/[\w/-]+\.md", file.read_text("utf-8"))
    }
    assert {page for page in named if not (ROOT / page).is_file()} == set()


# --- kinds -------------------------------------------------------------------------------------------------


def test_every_kind_has_pairs_that_are_closed() -> None:
    """And there is no folder, or half of a pair, that belongs to none."""
    corpus = ROOT / "tests" / "corpus"
    cases = {path.parent for path in corpus.glob("*/*/*.sql")}
    assert {case.parent.name for case in cases} == {kind.replace(" ", "_") for kind in KINDS}
    assert [case for case in cases if not (case / "a.sql").is_file() or not (case / "b.sql").is_file()] == []


def test_what_is_lenient_is_so_in_every_kind() -> None:
    """A scope leaves such attributes out by their names."""
    names = frozenset().union(*(kind.lenient for kind in KINDS.values()))
    for kind in KINDS.values():
        assert names & {*kind.attributes} == kind.lenient


# --- causes ------------------------------------------------------------------------------------------------

FOUND = sorted(CAUSES)


@pytest.mark.parametrize("cause", FOUND)
def test_every_cause_has_a_remedy_and_a_test(cause: str) -> None:
    word = re.compile(rf"[\"']{cause}[\"']")
    assert word.search((PACKAGE / "resolve" / "remedy.py").read_text("utf-8")), "no remedy"
    tests = [f for f in (ROOT / "tests").glob("test_*.py") if f != Path(__file__) and "report" not in f.name]
    assert any(word.search(file.read_text("utf-8")) for file in tests), "no test"


# --- packaging ---------------------------------------------------------------------------------------------

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
#: Names that conda-forge spells differently.
CONDA = {"psycopg[binary]": "psycopg"}


def _requirements(lines: list[str]) -> dict[str, str]:
    """Name → version constraint."""
    found = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9_.-]+(?:\[\w+\])?)(.*)", line)
        assert match
        found[CONDA.get(match[1], match[1])] = match[2]
    return found


def test_the_conda_environment_is_in_step() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    from_pip = next(item["pip"] for item in conda if isinstance(item, dict))
    listed = _requirements([item for item in conda if isinstance(item, str)] + from_pip)
    tools = {"python": listed.pop("python"), "jupyter": listed.pop("jupyter"), "pip": listed.pop("pip")}
    wanted = _requirements(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["lab"])
    assert listed == wanted
    assert tools["python"] == PROJECT["requires-python"]


def test_metadata() -> None:
    import auditkit

    assert PROJECT["version"] == auditkit.__version__
    assert PROJECT["license"] == "MIT"
    license = (ROOT / "LICENSE").read_text("utf-8")
    assert license.startswith("MIT License")
    assert re.search(r"Copyright \(c\) \d{4}", license)
    assert (ROOT / PROJECT["readme"]).is_file()
    assert (PACKAGE / "py.typed").is_file(), "the classifier Typing :: Typed promises it"


def test_every_import_is_declared() -> None:
    declared = {
        re.split(r"[\[><=~!;]", line)[0].lower().replace("-", "_") for line in PROJECT["dependencies"]
    }
    # What ipykernel, nbclient and jinja2 bring and hand out as part of their own interface.
    brought = {"IPython", "nbformat", "traitlets", "jupyter_client", "markupsafe"}
    used = {
        name.partition(".")[0]
        for file in PACKAGE.rglob("*.py")
        if file.parent.name != "drivers"  # these run in the project's environment, beside its tool
        for name in _imports(ast.parse(file.read_text("utf-8")))
    }
    foreign = used - set(sys.stdlib_module_names) - {"auditkit"} - brought
    imported = {"yaml": "pyyaml"}  # where the package has another name
    assert {imported.get(name, name.lower()) for name in foreign} <= declared


# --- what must not be in the repository --------------------------------------------------------------------

#: Addresses and paths of one person's machine. Written so that this file does not match itself.
FORBIDDEN = re.compile(
    "|".join(
        (
            r"/home/(?!user\b|runner\b|you\b|alice\b)[a-z]\w+/",
            r"/Users/(?!you\b)[a-z]\w+/",
            r"/wor[k]/",
            r"/tm[p]/w/",
            r"(?:index-url|registr[y])\s*[=:]\s*\"?https?://",
            r"https?://(?:localhost|127\.0\.0\.1|10\.\d+|192\.168)\S*/simple",
        )
    )
)


def test_nothing_of_one_machine_is_in_the_repository() -> None:
    found = []
    for file in _tracked():
        if (
            file == Path(__file__)
            or file.suffix in (".png", ".gz", ".snapshot", ".zip", ".woff2")
            or file.name.endswith(".min.js")
        ):
            continue
        for number, line in enumerate(file.read_text("utf-8", errors="replace").splitlines(), 1):
            if match := FORBIDDEN.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {match[0]}")
    assert found == []


def test_notebooks_are_committed_without_outputs() -> None:
    import json

    for file in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(file.read_text("utf-8"))["cells"]
        assert [c["outputs"] for c in cells if c["cell_type"] == "code" and c["outputs"]] == []
