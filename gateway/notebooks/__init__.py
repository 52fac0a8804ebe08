"""The domain: projects, notebooks, their names and their database."""
