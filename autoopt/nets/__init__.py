"""Networks that are no longer what `Workload.build` makes: which channels go together, cutting, storing, recovering."""

VERSION = 3
"""Raised when the code here changes what it makes; part of the key of every network."""
