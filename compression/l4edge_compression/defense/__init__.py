"""Certified defence against adversarial patches: numpy and an inference session, no torch outside ``training`` and ``attacks``."""
