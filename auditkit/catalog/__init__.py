"""What is there: the catalog of a database as facts, and how two of them differ.

``kinds`` declares what is read, ``capture`` reads it, ``snapshot`` holds and stores it, ``compare`` finds the
deltas. Only ``kinds`` knows what a table is.
"""
