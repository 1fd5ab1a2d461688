"""Tile engines: exact integers as their RTL computes them, what they move, and what they draw."""
