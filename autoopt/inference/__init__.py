"""One image to one answer, in numpy and one runtime: all that a deployed bundle needs."""
