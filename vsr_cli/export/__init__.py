"""Export of a run's model as ONNX graphs, which run without torch and without vsr."""
