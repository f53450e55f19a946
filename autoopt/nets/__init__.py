"""The torch network: trained, pruned, factored, reduced in resolution, recovered, stored."""

VERSION = 4
"""Raised when the code here changes what it makes; part of the key of every network."""
