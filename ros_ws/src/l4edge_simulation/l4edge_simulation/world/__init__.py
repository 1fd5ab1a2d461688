"""The road and everything that moves on it. Pure numpy."""
