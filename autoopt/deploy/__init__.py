"""Pick, bundle, load, predict."""
