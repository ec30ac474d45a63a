"""`vsr plugins`: list, show, check and create components."""
