"""What somebody else adds to the package: one file each, as test_extension.py puts them in."""
