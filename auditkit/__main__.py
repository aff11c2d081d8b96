"""``python -m auditkit`` is ``auditkit``."""

from auditkit.cli import main

main()
