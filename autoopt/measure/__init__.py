"""Measuring: the host, the lock, the timing protocol, the worker process and its parent side."""
