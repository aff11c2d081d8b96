"""auditkit: why do these PostgreSQL databases differ?"""

__version__ = "0.1.0"
