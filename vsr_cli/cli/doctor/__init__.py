"""`vsr doctor`: what is installed, what this machine has, and what is missing."""
