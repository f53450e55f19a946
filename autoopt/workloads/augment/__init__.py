"""Augmentations of the built-in workloads: one training sample made into another, one file per workload."""
