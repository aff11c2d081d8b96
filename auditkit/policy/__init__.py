"""Who can change the schema, by which door, and the SQL that would close each: pure functions over a snapshot."""
