"""The evaluation protocol: free-running predictions, scored beside their baselines."""
