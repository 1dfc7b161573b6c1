"""Training at every scale: what happens between a recipe and the folder that a run leaves."""
