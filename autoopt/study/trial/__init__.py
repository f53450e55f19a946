"""One trial: a configuration goes in, a record comes out."""
