"""`vsr runs`: list, show and verify runs."""
