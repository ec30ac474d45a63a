"""`python -m vsr_cli` is `vsr`."""

from .entry import main

if __name__ == "__main__":
    main()
