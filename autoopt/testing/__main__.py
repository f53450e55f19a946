"""`python -m autoopt.testing FILE.py:FUNCTION [DIR]`: what breaks the contract of a workload."""

from __future__ import annotations

import sys

from autoopt.testing.workload import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
