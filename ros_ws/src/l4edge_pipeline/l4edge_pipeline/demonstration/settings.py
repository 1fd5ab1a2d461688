"""What the demonstration shows: which drives of the test split, and where the stickers are."""

from l4edge_pipeline.demonstration.scenes import ATTACKED, GUARDED, SMALL, STANDING, STOP, Scene

SCENES = {
    STOP: Scene(STOP, number=83, look="clear", distance_m=52.0, speed_mps=8.0, plate=0, limit_mps=8.3),
    STANDING: Scene(STANDING, number=51, look="overcast", distance_m=60.0, speed_mps=8.0, limit_mps=8.3),
}
"""Scene: how it is put up."""

IMAGE_SIZE = (640, 360)
"""Of the camera, pixels."""

PRINTS = {
    (STOP, ATTACKED): "stop_sign",
    (STOP, GUARDED): "stop_sign",
    (STOP, SMALL): "stop_sign_small",
    (STANDING, ATTACKED): "vehicle",
    (STANDING, GUARDED): "vehicle",
}
"""Scene and variant: the sticker that is on the target."""
