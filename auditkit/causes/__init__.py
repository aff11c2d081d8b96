"""Why environments differ from what was meant: causes, their evidence, and the search for them."""
