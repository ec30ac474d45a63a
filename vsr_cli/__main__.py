"""`python -m vsr_cli` is `vsr`."""

from .cli import main

if __name__ == "__main__":
    main()
