"""What a pipeline does to an image before the network: a file for a kind of step, a line for it in table.py."""
