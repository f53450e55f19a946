"""A station on another machine: what is said to it, the keeper that answers there, and the link between them."""
