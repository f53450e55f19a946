"""What a bad day does to real searches, and what held: `python -m benchmarks.torture`."""
