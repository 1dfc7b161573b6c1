"""Numbers for what a model draws: distances, classes, copies, and the butterflies' own laws."""
