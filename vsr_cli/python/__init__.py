"""The Python API, which `vsr_cli/__init__.py` offers under the name of the package."""
