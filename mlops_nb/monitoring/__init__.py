"""What served models do, watched: traffic, and how the data that they are asked with drifts. Pure: no network, no files."""
