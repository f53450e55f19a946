"""`python -m autoopt` is the `autoopt` command."""

from __future__ import annotations

from autoopt.cli import main

if __name__ == "__main__":
    main()
