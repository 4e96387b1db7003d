"""The transforms: one file a dataset, and the order in which they are computed."""
