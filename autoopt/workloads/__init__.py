"""Built-in workloads: one file each, one line each in `autoopt.workload.BUILT_IN`."""
