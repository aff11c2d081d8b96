"""Everything that can go wrong, as one family.

Each message is one line that says what happened, where, and what to do next. It is printed as it is,
so it never holds a password, a connection string or a foreign-data option.
"""

from __future__ import annotations


class AuditError(Exception):
    """Base of all errors a user can meet. ``exit_code`` is what the command line returns."""

    exit_code = 3

    def _render_traceback_(self) -> list[str]:
        """One line in a notebook too: IPython shows this instead of source lines, which may hold secrets."""
        return [f"{type(self).__name__}: {self}"]


class ConfigError(AuditError):
    """The settings, an argument or a notebook parameter are wrong; nothing was read or run."""

    exit_code = 2


class ConnectionFailed(AuditError):
    """A database could not be reached, or it refused the role, password or TLS setting."""


class NotConfigured(ConnectionFailed):
    """An environment's address is missing. Alone it is a wrong setting; among others it is one not reached."""

    exit_code = 2


class Unreadable(AuditError):
    """A database answered but what was asked for may not or cannot be read there."""


class SnapshotCorrupt(AuditError):
    """A file is not a snapshot, was cut short, or its contents do not match its digest."""


class ServerFailed(AuditError):
    """No PostgreSQL binaries were found, or the scratch server did not start."""


class ToolFailed(AuditError):
    """A migration tool could not be run, or may not be: what it would have shown is not known."""


class NotTheShadow(AuditError):
    """The code of a migration was about to reach another database than the shadow, and was stopped."""


class NotebookFailed(AuditError):
    """A notebook stopped with an error; the executed copy is kept and named in the message."""
