"""The suite's own promise: a skipped test is listed by name, and where CI=true it is a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import pytest

@pytest.mark.skip(reason="no browser here")
def test_skipped(): ...

def test_gives_up(): pytest.skip("no network")

@pytest.mark.skip(reason="not on this system")
@pytest.mark.allow_skip("it is about another system")
def test_allowed(): ...

@pytest.mark.xfail(reason="known")
def test_known(): assert 0

def test_passes(): ...
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers =\n  allow_skip(reason): may be skipped")
    pytester.makepyfile(test_it=SUITE, test_module="import pytest\npytest.importorskip('no_such_package_zz')")
    return pytester


def test_every_skip_is_listed_with_its_reason(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    result = suite.runpytest_subprocess("-p", "no:xdist")
    result.assert_outcomes(passed=1, skipped=4, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "*4 NOT RUN*",
            "test_module.py: *no_such_package_zz*",
            "test_it.py::test_skipped: *no browser here",
            "test_it.py::test_gives_up: *no network",
            "test_it.py::test_allowed: *not on this system",
        ]
    )


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_in_ci_a_skip_is_a_failure_unless_it_is_allowed(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CI", "true")
    result = suite.runpytest_subprocess(*workers, "test_it.py")
    result.assert_outcomes(passed=1, skipped=1, failed=1, errors=1, xfailed=1)
    result.stdout.fnmatch_lines(["*no browser here: skipped although CI=true*", "*1 NOT RUN*"])


def test_in_ci_a_skipped_module_is_an_error(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = suite.runpytest_subprocess("-p", "no:xdist", "test_module.py")
    result.assert_outcomes(errors=1)
    assert result.ret != 0
