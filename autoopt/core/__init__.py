"""Values and plain mathematics that all other rooms speak."""
