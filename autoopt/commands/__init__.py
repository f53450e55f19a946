"""The commands on models that were found: one file each, in the order of their way to the clinic.

A command of its own is a function with typer's annotations here, and a line in `cli.py`.
"""
