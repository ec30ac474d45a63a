"""From stories to batches: windows, splits, the prepared folder, frozen features."""
