"""Settings: what is read from where, and that every mistake is one line that says what to do."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from auditkit import config
from auditkit.errors import ConfigError, NotConfigured

SECRET = "c4nary-pw"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", "FAIL_ON", "OUT_DIR", "MIGRATIONS", "SHADOW_SERVER"):
        monkeypatch.delenv(f"AUDITKIT_{name}", raising=False)


def load(folder: Path, text: str) -> config.Settings:
    file = folder / "auditkit.toml"
    file.write_text(text, "utf-8")
    return config.load(file)


def test_everything_that_can_be_set(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
[environments]
production = "service=app"
old = "saved/old.snapshot"
staging = { url = "host=h dbname=d" }
[migrations]
path = "db/migrations"
tool = "dbmate"
[shadow]
server = "service=scratch"
role = "deployer"
[report]
out_dir = "out"
fail_on = "high"
[compare]
owners = false
schemas = ["public"]
[[ignore]]
kind = "index"
name = "tmp_*"
reason = "made by the DBA"
until = 2027-01-31
""",
    )
    assert settings == config.Settings(
        root=tmp_path,
        file=tmp_path / "auditkit.toml",
        environments={
            "production": config.Source("production", "live", "service=app"),
            "old": config.Source("old", "snapshot", str(tmp_path / "saved/old.snapshot")),
            "staging": config.Source("staging", "live", "host=h dbname=d"),
        },
        migrations_path="db/migrations",
        tool="dbmate",
        shadow_server="service=scratch",
        shadow_role="deployer",
        out_dir=tmp_path / "out",
        fail_on="high",
        ignore=(config.IgnoreRule("made by the DBA", "index", "", "tmp_*", dt.date(2027, 1, 31)),),
        schemas=("public",),
        owners=False,
    )


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    assert config.load(start=tmp_path) == config.Settings(root=tmp_path, out_dir=tmp_path / "reports")


def test_the_nearest_file_above_is_used(tmp_path: Path) -> None:
    load(tmp_path, '[environments]\nproduction = "service=app"\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert config.load(start=below).root == tmp_path
    (tmp_path / "a" / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert config.load(start=below).root == tmp_path  # a project without our section is passed by
    (tmp_path / "a" / "pyproject.toml").write_text('[tool.auditkit.environments]\nlive = "service=other"\n')
    assert list(config.load(start=below).environments) == ["live"]


def test_variables_come_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        '[report]\nfail_on = "low"\nout_dir = "a"\n[migrations]\npath = "m"\n[shadow]\nserver = "service=s"\n'
    )
    monkeypatch.setenv("AUDITKIT_FAIL_ON", "critical")
    monkeypatch.setenv("AUDITKIT_OUT_DIR", "b")
    monkeypatch.setenv("AUDITKIT_MIGRATIONS", "n")
    monkeypatch.setenv("AUDITKIT_SHADOW_SERVER", "embedded")
    settings = load(tmp_path, text)
    assert (settings.fail_on, settings.out_dir) == ("critical", tmp_path / "b")
    assert (settings.migrations_path, settings.shadow_server) == ("n", None)
    monkeypatch.setenv("AUDITKIT_FAIL_ON", "hgh")
    with pytest.raises(
        ConfigError, match=r"^AUDITKIT_FAIL_ON: fail_on is 'hgh'; it must be one of info, low"
    ):
        load(tmp_path, text)


def test_a_supabase_project_has_a_local_database(tmp_path: Path) -> None:
    (tmp_path / "supabase").mkdir()
    (tmp_path / "supabase" / "config.toml").write_text("[db]\nport = 55555\n")
    local = load(tmp_path, '[environments]\nproduction = "service=app"\n').environments["local"]
    assert local.value == "postgresql://postgres:postgres@127.0.0.1:55555/postgres"
    own = load(tmp_path, '[environments]\nlocal = "service=mine"\n').environments["local"]
    assert own.value == "service=mine"
    named = load(tmp_path, '[environments]\nproduction = "service=app"\n')
    assert [source.name for source in named.sources("all")] == ["production"], "nobody runs it in CI"
    assert [source.name for source in named.sources("production,local")] == ["production", "local"]
    assert [source.name for source in load(tmp_path, "").sources("all")] == ["local"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[environments\nx = 1", "not valid TOML: Expected ']'"),
        ("[environment]\nx = 'service=x'", "unknown setting 'environment', did you mean 'environments'?"),
        ("[report]\nfailon = 'low'", "unknown setting 'failon' in [report], did you mean 'fail_on'?; known: fail_on"),
        ("[report]\nfail_on = 'hgh'", "fail_on is 'hgh'; it must be one of info, low, medium, high, critical"),
        ("[report]\nfail_on = 3", "'fail_on' in [report] must be a text in quotes, not int"),
        ("[migrations]\npath = 3", "'path' in [migrations] must be a text in quotes, not int"),
        ("[compare]\nowners = 'no'", "'owners' in [compare] must be true or false, not str"),
        ("[compare]\nschemas = 'public'", "'schemas' in [compare] must be a list of texts, not str"),
        ("[compare]\nschemas = [1]", "'schemas' in [compare] must be a list of texts, not list"),
        ("migrations = 'x'", "'migrations' must be a table, not str"),
        ("environments = ['x']", "'environments' must be a table of NAME = \"service=…\", not list"),
        ("[environments]\nx = 5", "environment x: must be a connection string or the path of a snapshot, not int"),
        ("[environments]\nx = ''", 'environment x: is empty; write x = "service=…"'),
        ("[environments]\nx = {urll = 'service=x'}", "environment x: unknown setting 'urll'"),
        ("[ignore]\nkind = 'index'", "'ignore' must be written as [[ignore]] tables, not dict"),
        ("ignore = ['x']", "ignore rule 1: must be a table; write it as [[ignore]]"),
        ("[[ignore]]\nkind = 'index'", 'ignore rule 1: needs reason = "…"'),
        ("[[ignore]]\nreason = 'x'", "ignore rule 1: names nothing; give kind, schema, name or partitions_of"),
        ("[[ignore]]\nkind = 'index'\nreason = 3", "'reason' in [ignore] must be a text in quotes, not int"),
        ("[[ignore]]\nkind = 'index'\nreason = 'x'\nuntil = 'soon'", "until must be a date like 2027-01-31"),
        ("[[ignore]]\nkind = 'index'\nreason = 'x'\nuntil = 3", "must be a date like 2027-01-31, not int"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'auditkit.toml'}: ")
    assert says in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "conninfo",
    [
        f"postgresql://u:{SECRET}@h/db",
        f"postgresql://u:{SECRET}@x@h/db",
        f"postgresql://u:x@{SECRET}/y@h/db",
        f"postgresql://u:{SECRET}%zz@h/db",
        f"postgresql://h/db?password={SECRET}",
        f"host=h password={SECRET}",
        f"host=h password='{SECRET}",
        f"host=h sslpassword={SECRET} password = x",
    ],
)
@pytest.mark.parametrize("where", ["[environments]\nproduction = {}", "[shadow]\nserver = {}"])
def test_a_password_in_the_file_is_refused_and_not_repeated(
    tmp_path: Path, conninfo: str, where: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, where.format(f'"{conninfo}"'))
    assert SECRET not in str(caught.value)
    assert "holds a password" in str(caught.value) or "cannot be parsed" in str(caught.value)


def test_variables_for_a_migration_tool(tmp_path: Path) -> None:
    read = load(
        tmp_path, '[migrations]\nrun_code = false\nenvironment = { DB_URL = "{shadow}", DEBUG = "1" }\n'
    )
    assert (read.run_code, read.code_environment) == (False, {"DB_URL": "{shadow}", "DEBUG": "1"})
    for value, says in (
        ("5", "must be a text in quotes"),
        (
            '"postgresql://app@db.example.com/prod"',
            "names a server; migrations are replayed on the shadow only",
        ),
    ):
        with pytest.raises(ConfigError, match=rf"\[migrations\] environment: DB_URL: {says}"):
            load(tmp_path, f"[migrations]\nenvironment = {{ DB_URL = {value} }}\n")


def test_an_address_in_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[environments]\nproduction = { url_env = "APP_DB_URL" }\n'
    monkeypatch.delenv("APP_DB_URL", raising=False)
    unset = load(tmp_path, text).environment("production")
    with pytest.raises(
        NotConfigured, match=r"^production: the environment variable APP_DB_URL is not set; set it"
    ):
        _ = unset.conninfo
    monkeypatch.setenv("APP_DB_URL", f"postgresql://u:{SECRET}@h/db")
    known = load(tmp_path, text).environment("production")
    assert known.conninfo == f"postgresql://u:{SECRET}@h/db"
    assert SECRET not in repr(known)


def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(tmp_path, '[environments]\nproduction = "service=app"\nstaging = "service=stage"\n')
    (tmp_path / "a.snapshot").write_bytes(b"x")
    (tmp_path / "b.snapshot").mkdir()
    assert settings.source("production").value == "service=app"
    assert settings.source("migrations") == config.Source("migrations", "migrations", "")
    assert settings.source("migrations@main").value == "main"
    assert settings.source("a.snapshot") == config.Source("a", "snapshot", "a.snapshot")
    assert settings.source("postgresql://h/db") == config.Source("db", "live", "postgresql://h/db")
    assert settings.source("service=other").name == "other"
    assert [s.name for s in settings.sources("all")] == ["production", "staging"]
    assert [s.name for s in settings.sources("staging, production")] == ["staging", "production"]
    for text, says in {
        "prodction": "unknown environment 'prodction', did you mean 'production'?; defined in",
        "migrations@": "migrations@ needs a git reference after it",
        "no.snapshot": "no such snapshot file: no.snapshot; make one with `auditkit snapshot",
        "b.snapshot": "b.snapshot is a folder, not a snapshot file",
    }.items():
        with pytest.raises(ConfigError) as caught:
            settings.source(text)
        assert says in str(caught.value)
    with pytest.raises(ConfigError, match="no environment was named"):
        settings.sources(" , ")


def test_with_no_settings_at_all_the_message_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(start=tmp_path).source("production")
    assert str(caught.value) == (
        "unknown environment 'production': none is defined because no auditkit.toml was found here or above; "
        'create auditkit.toml with [environments] production = "service=…" '
        "(or pass a connection string or a snapshot file)"
    )


def test_rules_end(tmp_path: Path) -> None:
    rule = config.IgnoreRule("r", until=dt.date(2027, 1, 31))
    assert [rule.active(dt.date(2027, 1, 31)), rule.active(dt.date(2027, 2, 1))] == [True, False]
    assert config.IgnoreRule("r").active()


def test_a_missing_file_that_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match=r"no such settings file: .*nope\.toml; check --config or AUDITKIT_CONFIG"
    ):
        config.load(tmp_path / "nope.toml")
    load(tmp_path, '[environments]\nx = "service=x"\n')
    assert list(config.load(tmp_path).environments) == ["x"]  # a folder is as good as its file
    monkeypatch.setenv("AUDITKIT_CONFIG", str(tmp_path / "auditkit.toml"))
    assert list(config.load().environments) == ["x"]
