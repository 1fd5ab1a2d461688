"""A world with traffic, a camera and ground truth: writes bags and training images, and drives closed loop.

``simulation.Simulation`` is the entry. Below it: ``world`` (what moves, and by which rules; no rendering), ``shapes``
(what objects are made of), ``scenery`` (what stands beside the road, and textures), ``rendering`` (MuJoCo draws the
scene; the ground truth is read off the drawing).
"""
