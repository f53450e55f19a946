"""What to try, one trial, and what the study knows."""
