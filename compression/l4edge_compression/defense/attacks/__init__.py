"""Attacks for tests and tables: patches of every kind inside the threat model, and some outside it."""
