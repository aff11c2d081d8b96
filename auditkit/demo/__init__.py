"""A small tea shop with three databases that have drifted, and a check that every drift is found."""
