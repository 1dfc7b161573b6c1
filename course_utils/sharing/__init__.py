"""Sharing a model: the page that tells what it is, and its way to the Hub."""
