"""Many small experiments on the same stories: what is varied, the runs of it, and what they come to."""
