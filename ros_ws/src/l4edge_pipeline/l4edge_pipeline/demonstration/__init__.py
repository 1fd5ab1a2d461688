"""Attacks on the vehicle in the simulated world: scenes, the closed loop, what came of them, and the page."""
