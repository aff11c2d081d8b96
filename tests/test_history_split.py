"""The splitter, on text alone. That it agrees with the real CLI is tested in test_history_tools.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditkit.history.split import fold, same_effect, signature, split

#: A file and what CLI 3.1.0 stores of it. test_history_tools.py pushes all of these with the CLI.
CASES: dict[str, tuple[str, list[str]]] = {
    "comments stay, empty statements go": (
        "-- head\nselect 1; ;\n;;select 2 /* ; */ -- ;\n;\n-- tail\n",
        ["-- head\nselect 1", "select 2 /* ; */ -- ;", "-- tail"],
    ),
    "quotes": (
        """select 'a;''b', ";""x", 'c\\';select 2;""",
        ["""select 'a;''b', ";""x", 'c\\'""", "select 2"],
    ),
    "escape strings": (
        "select E'a\\';b', e'\\\\';select E'a'\n'\\';' ;select 1",
        ["select E'a\\';b', e'\\\\'", "select E'a'\n'\\';'", "select 1"],
    ),
    "dollar quotes": (
        "select $$a;$b$;$$, $Ä_1$ $$; $Ä_1$;select 1 as a$b, 2 as c$b;select $1;$x",
        ["select $$a;$b$;$$, $Ä_1$ $$; $Ä_1$", "select 1 as a$b, 2 as c$b", "select $1", "$x"],
    ),
    "nested comments": (
        "select 1 /* a /* ; */ ; */ /*/ ; */ + 1;select 2",
        ["select 1 /* a /* ; */ ; */ /*/ ; */ + 1", "select 2"],
    ),
    "begin atomic": (
        "create function f() returns int language sql\nbegin  atomic\n"
        " select case when true then 1 end;\n /* end */ select 'end;';\n -- end\nEND;"
        "select endx, atomic;select 2",
        [
            "create function f() returns int language sql\nbegin  atomic\n"
            " select case when true then 1 end;\n /* end */ select 'end;';\n -- end\nEND",
            "select endx, atomic",
            "select 2",
        ],
    ),
    "a rule with several actions": (
        "create rule r as on insert to t do also (delete from a; delete from b);select 1",
        ["create rule r as on insert to t do also (delete from a; delete from b)", "select 1"],
    ),
    "the CLI closes every parenthesis at the first )": (
        "create rule r as on insert to t do also (delete from a where (true); delete from b);select 1",
        [
            "create rule r as on insert to t do also (delete from a where (true)",
            "delete from b)",
            "select 1",
        ],
    ),
    "line ends": ("select 1;\r\n-- a\rselect 2;\r\n\r\n", ["select 1", "-- a\rselect 2"]),
    "byte order mark and other space": (
        "\ufeffselect 1;\u00a0\u2003select '\u00a0';\x1c",
        ["select 1", "select '\u00a0'", "\x1c"],
    ),
    "backslash": ("select 1\\;2;select 3", ["select 1\\;2", "select 3"]),
    "no end": ("select 'a;b", ["select 'a;b"]),
    "nothing": (" \n ; ;", []),
}


@pytest.mark.parametrize("name", CASES)
def test_statements_are_what_the_cli_stores(name: str) -> None:
    sql, expected = CASES[name]
    assert [statement.text for statement in split(sql)] == expected


def test_a_line_is_where_the_first_word_stands() -> None:
    sql = "\n-- why\n\ncreate table a ();\n/* x\n y */ create table b ();\n-- only a comment\n"
    assert [(s.line, s.text.split("\n")[-1]) for s in split(sql)] == [
        (4, "create table a ()"),
        (6, " y */ create table b ()"),
        (7, "-- only a comment"),
    ]


# Pieces that mean something to the splitter, in any order.
PIECES = st.one_of(
    st.sampled_from("'\";()-/\\$\n\r\t é1a\u00a0\ufeff"),
    st.sampled_from(
        ["$$", "$a$", "--", "/*", "*/", "E'", "e'", "''", "\r\n", "-- c\n", "select", "CASE", "END;"]
    ),
    st.sampled_from(["BEGIN ATOMIC ", "begin\natomic ", "ATOMIC", "END", "end"]),
)
SCRIPTS = st.lists(PIECES, max_size=40).map("".join)


@given(SCRIPTS)
def test_statements_cover_everything_but_space_and_semicolons(sql: str) -> None:
    position, line = 0, 0
    for statement in split(sql):
        assert sql[statement.start : statement.end] == statement.text
        assert statement.text and statement.text == statement.text.strip(" \t\r\n\u00a0\ufeff")
        assert set(sql[position : statement.start]) <= set("; \t\r\n\u00a0\ufeff")
        assert statement.line >= max(line, 1)
        position, line = statement.end, statement.line
    assert set(sql[position:]) <= set("; \t\r\n\u00a0\ufeff")


@given(SCRIPTS)
def test_what_is_stored_splits_into_itself(sql: str) -> None:
    # Trimmed characters beyond ASCII count as letters, so a $ after them means something else.
    for statement in split(sql.replace("\u00a0", " ").replace("\ufeff", " ")):
        assert [s.text for s in split(statement.text)] == [statement.text.rstrip(";").rstrip()]


LITERALS = st.sampled_from(["'It''s  A'", '"Ab  c"', "$$ A;\n -- b $$", "E'\\'x  Y'"])
WORDS = st.sampled_from(["select", "A", "1", ",", "(", ")", "+"])
BLANKS = st.sampled_from([" ", "\n", "\r\n", "  \t", " -- c;'\n", "/* x /* y */ ; */"])


@given(st.lists(st.tuples(st.one_of(LITERALS, WORDS), BLANKS, BLANKS), min_size=1, max_size=15))
def test_layout_comments_and_case_of_words_do_not_matter(tokens: list[tuple[str, str, str]]) -> None:
    # Words in between: two strings in a row with a line end between them would be one.
    plain = "".join(f"{token} x " for token, _, _ in tokens)
    other = "".join(
        (token if token[0] in "'\"$E" else token.swapcase()) + f"{a}X{b}" for token, a, b in tokens
    )
    assert fold(plain) == fold(other)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (["select 1", "select 2"], ["select 1;\nselect 2;\n"], "identical"),
        (["create table t(a int)"], ["-- hi\nCREATE  TABLE t (\r\n  a int\r\n)"], "cosmetic"),
        (["select 1", "-- tail"], ["select 1"], "cosmetic"),
        (["select 'a'"], ["select 'A'"], "different"),
        (['select "a"'], ['select "A"'], "different"),
        (["select 1", "select 2"], ["select 2", "select 1"], "different"),
        (["do $$ begin -- a\nend $$"], ["do $$ begin -- b\nend $$"], "different"),
        (["do $$ begin\nend $$"], ["do $$ begin\r\nend $$"], "cosmetic"),
        (["select a$b"], ["select A$B"], "cosmetic"),
        (["select 1/**/2"], ["select 12"], "different"),
        ([], [""], "identical"),
    ],
)
def test_same_effect(left: list[str], right: list[str], expected: str) -> None:
    assert same_effect(left, right) == same_effect(right, left) == expected
    assert (signature(left) == signature(right)) == (expected != "different")
