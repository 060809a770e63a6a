"""The store in a database: the only SQL of the project."""
