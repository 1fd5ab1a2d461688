"""Certified defence against adversarial patches: no torch outside ``training`` and ``attacks``."""
