"""Generated demo data: they show that the tool works, and are called demo data wherever their results appear."""
