"""The documented columns of every DataFrame auditkit hands out.

A frame always has exactly these columns and dtypes, whether it holds rows or not. ``str`` is pandas' string
dtype, ``Int64`` its integer that may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: ``Snapshot.facts``: one row per object of the catalog.
FACTS: dict[str, str] = {
    "kind": "str",  # as pg_identify_object names it: table, table column, policy, …
    "identity": "str",  # schema-qualified and quoted where needed; equal across servers
    "schema": "str",  # unquoted; missing for objects outside schemas
    "name": "str",  # unquoted; missing where the identity is not made of a name
    "parent": "str",  # identity of what it belongs to (a column's table), if it belongs to something
    "extension": "str",  # the extension it is a member of, if any
    "classid": "Int64",  # its address in the catalog: valid on the server it was read from only
    "oid": "Int64",
    "subid": "Int64",
    "xmin": "Int64",  # transaction that wrote its main row; missing where that may not be read
}

#: ``Snapshot.edges``: one row per dependency between two facts, from pg_depend.
EDGES: dict[str, str] = {
    "kind": "str",  # the dependent object …
    "identity": "str",
    "on_kind": "str",  # … and what it depends on
    "on_identity": "str",
    "type": "str",  # normal, auto, internal, extension, partition
}

#: ``Snapshot.history``: one row per migration in a ledger, whatever the tool.
HISTORY: dict[str, str] = {
    "tool": "str",
    "table": "str",  # the ledger, schema-qualified
    "position": "Int64",  # order of application, where the ledger tells it
    "version": "str",
    "name": "str",
    "state": "str",  # applied, failed, rolled_back
    "applied_at": "datetime64[us, UTC]",
    "checksum": "str",
    "statements": "object",  # list of str where the ledger stores them
    "xmin": "Int64",
    "applied_by": "str",  # as the tool knows that person
    "note": "str",
    "recorded_as": "str",  # run, marked (not run), baseline, captured (seen by the tool, not made with it)
    "done": "Int64",  # statements (Prisma: steps) that were run …
    "total": "Int64",  # … of how many, where the tool counts them
}

#: ``auditkit.blame``: one row per part of an object.
BLAME: dict[str, str] = {
    "kind": "str",  # the object, or what belongs to it
    "identity": "str",
    "part": "str",  # object (that it exists), owner, comment, grants, another attribute, or a line of: body, definition
    "text": "str",
    "status": "str",  # migration, base, by_hand, superseded, unrecorded, missing, removed: see docs/blame.md
    "says": "str",
    "version": "str",  # the migration; missing where none made it so
    "name": "str",
    "file": "str",
    "line": "Int64",
    "commit": "str",
    "author": "str",
    "authored_at": "datetime64[us, UTC]",
}

#: ``auditkit.describe``: one row per environment.
DESCRIBE: dict[str, str] = {
    "name": "str",
    "describe": "str",  # the migration whose state it equals; NAME+N if it is N changes away from the nearest
    "version": "str",
    "exact": "bool",
    "changes": "Int64",
    "since": "str",  # the first migration after which they parted
    "by_no_migration": "Int64",  # how many of the changes no migration makes
    "later": "Int64",  # migrations after it
    "head": "str",  # the last one by the ledger
    "fingerprint": "str",
}


#: ``Snapshot.testimony``: one row per statement that a witness recorded.
TESTIMONY: dict[str, str] = {
    "witness": "str",  # ddl_log, server_log, statements
    "at": "datetime64[us, UTC]",  # missing where the witness notes no time
    "role": "str",  # whose rights were used; where the witness does not know, who had logged in
    "session_user": "str",  # who had logged in
    "client": "str",  # address or host; missing for the server's own socket
    "application": "str",  # what the client calls itself
    "command": "str",  # ALTER TABLE
    "statement": "str",  # without secrets, on one line, cut to 400 characters
    "xid": "Int64",  # transaction, as xmin of the catalog's rows
    "objects": "object",  # list of [kind, identity], where the witness names them
    "source": "str",  # table, or file and line
}


def frame(columns: Mapping[str, str], data: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """A DataFrame of exactly *columns*; those that *data* lacks are missing values.

    ``data`` maps column names to equally long sequences.
    """
    import pandas as pd

    length = max((len(values) for values in data.values()), default=0)
    values = {name: data.get(name, [None] * length) for name in columns}
    series = {
        name: text(values[name]) if dtype == "str" else pd.Series(values[name], dtype=dtype)
        for name, dtype in columns.items()
    }
    return pd.DataFrame(series)


def text(values: Sequence[str | None]) -> pd.Series[str]:
    """A column of text; by way of Arrow, which is several times as quick as pandas' own way."""
    import pandas as pd
    import pyarrow as pa

    array = pa.array(values, pa.large_string())
    if int(pd.__version__.split(".")[0]) < 3:
        # pandas 2 knows no dtype named str for text; its StringDtype behaves alike.
        return pd.Series(array.to_pylist(), dtype=pd.StringDtype())
    return pd.Series(pd.array(array, dtype="str"), copy=False)


def from_records(columns: Mapping[str, str], records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The same from one mapping per row."""
    rows = list(records)
    return frame(columns, {name: [row.get(name) for row in rows] for name in columns})
