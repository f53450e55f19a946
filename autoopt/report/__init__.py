"""What people read, rendered from the result of a study."""
