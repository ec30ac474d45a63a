"""`vsr data`: analyse stories, prepared or not."""
