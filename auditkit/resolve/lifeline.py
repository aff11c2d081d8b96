"""Notices that a session is dead although its socket does not say so.

A network that drops packets, or a proxy that stands still, leaves a client waiting for an answer that never comes. Asked
over another connection, the server knows better: its side of the session is gone, or idle because it has answered long ago.
Then the socket is closed, so that whoever waits learns that the connection is lost.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

#: Seconds that a session may wait before the server is asked, between two questions, and until a server that cannot be
#: reached at all is given up.
PATIENCE, PAUSE, GIVE_UP = 10.0, 5.0, 60.0

_STATE = "SELECT state, query_start::text FROM pg_catalog.pg_stat_activity WHERE pid = %s"
Connect = Callable[[], "psycopg.Connection[Any]"]


class Lifeline:
    """Watches sessions until it is left."""

    def __init__(self) -> None:
        self._watched: list[tuple[weakref.ref[psycopg.Connection[Any]], Connect]] = []
        self._over = threading.Event()
        self._waiting: dict[int, float] = {}
        self._seen: dict[int, tuple[object, ...]] = {}
        self._thread = threading.Thread(target=self._run, name="auditkit lifeline", daemon=True)

    def __enter__(self) -> Lifeline:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()

    def watch(self, connection: psycopg.Connection[Any], connect: Connect) -> psycopg.Connection[Any]:
        """Watch *connection*; *connect* opens another one to the same server."""
        self._watched.append((weakref.ref(connection), connect))
        return connection

    def _run(self) -> None:
        while not self._over.wait(min(PAUSE, 1)):
            for reference, connect in list(self._watched):
                connection = reference()
                if connection is None or connection.closed:
                    self._watched.remove((reference, connect))
                elif self._is_dead(connection, connect):
                    hang_up(connection)

    def _is_dead(self, connection: psycopg.Connection[Any], connect: Connect) -> bool:
        """Whether it waits for an answer that the server has given, or cannot give any more."""
        from psycopg import Error
        from psycopg.pq import TransactionStatus

        who, now = id(connection), time.monotonic()
        if connection.pgconn.transaction_status != TransactionStatus.ACTIVE:
            self._waiting.pop(who, None)
            self._seen.pop(who, None)
            return False
        since = self._waiting.setdefault(who, now)
        if now - since < PATIENCE:
            return False
        try:
            with contextlib.closing(connect()) as other:
                row = other.execute(_STATE, [connection.info.backend_pid]).fetchone()
        except Exception as error:
            if not isinstance(error, Error) and type(error).__name__ != "ConnectionFailed":
                raise
            return now - since > GIVE_UP
        if row is None:
            return True
        if str(row[0]).startswith("idle"):
            # Twice the same: it is not between two statements just now.
            if self._seen.get(who) == tuple(row):
                return True
            self._seen[who] = tuple(row)
        else:
            self._seen.pop(who, None)
            self._waiting[who] = now - PATIENCE + PAUSE
        return False


def hang_up(connection: psycopg.Connection[Any]) -> None:
    """Shut the socket down, under whoever waits for it."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as line:
        line.shutdown(socket.SHUT_RDWR)
