"""`python -m vsr_cli` is `vsr`."""

from .entry import run

if __name__ == "__main__":
    run()
