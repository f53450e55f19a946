"""The torch network: trained, pruned, factored, reduced in resolution, recovered, stored."""

VERSION = 3
"""Raised when the code here changes what it makes; part of the key of every network."""
