"""Demo data, drawn by the program: they show that the tool works, and are called demo data everywhere."""
