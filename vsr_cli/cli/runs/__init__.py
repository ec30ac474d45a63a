"""`vsr runs`: list, show, verify, rename and remove runs."""
