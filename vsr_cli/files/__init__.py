"""Files that survive kills, races and damage: atomic writes, checksums, locks, links, JSON."""
