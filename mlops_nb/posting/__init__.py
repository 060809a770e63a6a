"""Posting to forges: sticky comments, checks, pull requests, and homes for the images that a report shows."""
