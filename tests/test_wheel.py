"""The wheel as a user gets it: everything is in it, and it works far away from this repository."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from project import environment

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


def _sources(folder: Path) -> set[str]:
    """All files below *folder* that belong into the package, as paths in the wheel."""
    unwanted = {".pyc", ".so"}
    return {
        file.relative_to(ROOT).as_posix()
        for file in folder.rglob("*")
        if file.is_file() and file.suffix not in unwanted and "__pycache__" not in file.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a folder of its own; its dependencies are this environment's."""
    target = tmp_path_factory.mktemp("installed")
    command = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return target


def test_everything_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {name for name in names if name.startswith("auditkit/")}
    notebooks = {
        f"auditkit/notebooks/{file.name}" for file in (ROOT / "notebooks").iterdir() if file.is_file()
    }
    assert package == _sources(ROOT / "auditkit") | notebooks
    for needed in (
        "auditkit/notebooks/root_cause.ipynb",
        "auditkit/report/audit.schema.json",
        "auditkit/report/static/report.css",
        "auditkit/report/templates/notebook/index.html.j2",
        "auditkit/history/platform_sql/supabase.sql",
        "auditkit/history/platform_sql/standins/vector.sql",
        "auditkit/demo/shop/supabase/seed.sql",
        "auditkit/py.typed",
    ):
        assert needed in names
    extra = {name.partition("/")[0] for name in names - package}
    assert len(extra) == 1
    assert extra.pop().endswith(".dist-info")


def test_its_metadata(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (info,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
    metadata = archive.read(f"{info}/METADATA").decode()
    assert "License-Expression: MIT\n" in metadata
    assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert "auditkit = auditkit.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    assert (
        "auditkit-warm = auditkit.report.engine:WarmEngine"
        in archive.read(f"{info}/entry_points.txt").decode()
    )


def test_it_works_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    variables = environment({"PYTHONPATH": str(installed)})
    # Not through the environment's own `auditkit`, whose editable installation points back here.
    launch = [sys.executable, "-P", "-c", "import sys; from auditkit.cli import main; main(sys.argv[1:])"]

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*launch, *arguments], cwd=tmp_path, env=variables, capture_output=True, encoding="utf-8"
        )
        assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
        assert "demo:" not in done.stderr
        return done.stdout

    where = "import auditkit, auditkit.report as r; print(auditkit.__file__, r.notebook_path('root_cause'))"
    found = subprocess.run(
        [sys.executable, "-P", "-c", where], cwd=tmp_path, env=variables, capture_output=True, text=True
    )
    assert found.stdout.split() == [
        str(installed / "auditkit" / "__init__.py"),
        str(installed / "auditkit" / "notebooks" / "root_cause.ipynb"),
    ]
    assert "A tea shop on Supabase" in run("demo", "--no-reports", "--dir", "reports")
    shop = tmp_path / "reports" / "shop" / "auditkit.toml"
    page = Path(
        run("--config", str(shop), "report", "root_cause", "-e", "production", "-o", "out").splitlines()[-1]
    )
    text = (tmp_path / page).read_text("utf-8")
    assert "orders" in text
    assert str(ROOT) not in text


def test_its_script_is_declared_and_runs(installed: Path, tmp_path: Path) -> None:
    scripts = [installed / "bin" / "auditkit", installed / "Scripts" / "auditkit.exe"]
    (script,) = [path for path in scripts if path.exists()]
    purelib = sysconfig.get_path("purelib")
    variables = environment({"PYTHONPATH": os.pathsep.join([str(installed), purelib])})
    done = subprocess.run(
        [str(script), "--version"], cwd=tmp_path, env=variables, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "auditkit, version 0.1.0\n")
