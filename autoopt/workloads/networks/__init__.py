"""Networks of the built-in workloads and of the matrix."""
