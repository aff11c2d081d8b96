"""What runs inside the project's own Python, one program for each tool: no import leads here, and none from here.

``run.py`` is started with the project's interpreter, which need not have auditkit: it uses the standard library
of Python 3.8 and loads ``for_<tool>.py``.
"""
