"""Looks at a scene's target from everywhere on the way to it, for those who make a sticker for exactly this place.

``python -m l4edge_pipeline.demonstration.views --scene stop_sign --out views.npz``. The file holds, for K looks,
windows of the picture before the camera's noise and what it takes to draw a sticker into them: the corners of the
target's side, where it is visible, and how it is lit.
"""

from pathlib import Path
from typing import Dict, List

import click
import numpy as np

from l4edge_perception.files import write_bytes
from l4edge_pipeline.demonstration.scenes import STANDING, STOP, Scene, Target, stage
from l4edge_pipeline.demonstration.settings import SCENES

WINDOWS = {STOP: (160, 160), STANDING: (256, 320)}
"""Scene: rows and columns of a window."""

DISTANCES_M = {STOP: (9.0, 45.0), STANDING: (6.0, 80.0)}
"""Scene: from the camera to the target's side."""

GRID, ROWS_ABOVE = 32, 12  # windows lie on the detector's coarsest grid; its input has this many rows above the picture
SIDEWAYS_M, YAW_RAD = 0.25, 0.012  # standard deviations of the vehicle's place in its lane


def looks(scene: Scene, count: int, seed: int) -> Dict[str, np.ndarray]:
    """Windows (K, h, w, 3) uint8 with ``origins`` (K, 2), ``sides`` (K, 4, 2), ``visible`` (K, h, w), ``light`` (K, 3).

    Points are x, y in pixels of the whole picture, corners clockwise from the top left as a reader sees them; ``boxes``
    (K, 4) are the ground truth's.
    """
    from l4edge_simulation.rendering.renderer import Renderer

    renderer = Renderer(640, 360)
    simulation, target = stage(scene, renderer)
    if target is None:
        raise ValueError("this scene has no target")
    rng = np.random.default_rng(seed)
    rows: List[Dict[str, np.ndarray]] = []
    while len(rows) < count:
        row = _look(simulation, renderer, target, scene, rng)
        if row is not None:
            rows.append(row)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _look(simulation, renderer, target: Target, scene: Scene, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    from l4edge_simulation.rendering.stickers import project
    from l4edge_simulation.world.ego import Bicycle

    state, pose = simulation.world.state, simulation.camera_pose
    distance = float(np.exp(rng.uniform(*np.log(DISTANCES_M[scene.kind]))))
    station = target.station - distance - pose.forward
    lateral = state.layout.road.section.lane_centre(1, state.ego_lane) + rng.normal(0.0, SIDEWAYS_M)
    x, y, yaw = (float(value) for value in state.layout.road.pose(station, lateral))
    state.ego, state.ego_station = Bicycle(x, y, yaw + float(rng.normal(0.0, YAW_RAD)), 8.0), station
    actors = simulation.scene.pose()
    image, geoms = renderer.render()
    item = simulation.scene.items[target.item]
    actor, member = actors.get(item.member.key), item.member
    px, py, turned = (actor.x, actor.y, actor.yaw) if actor else (*member.position[:2], member.yaw)
    side = target.sticker(np.zeros((1, 1, 3), np.uint8))
    corners = project(side.corners(), px, py, turned, (pose.intrinsics(), simulation.scene.map_from_camera))
    mine = np.isin(geoms, item.geoms)
    if corners[:, 2].min() < 1.0 or not mine.any():
        return None
    tall, wide = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
    box = np.array([wide[0], tall[0], wide[-1] + 1, tall[-1] + 1], np.float32)
    if box[0] < 2 or box[2] > image.shape[1] - 2 or box[1] < 2:
        return None
    height, width = WINDOWS[scene.kind]
    left = int(np.clip(box[[0, 2]].mean() - width / 2 + rng.uniform(-GRID, GRID) / 2, 0, image.shape[1] - width))
    top = int(np.clip(box[[1, 3]].mean() - height / 2, 0, image.shape[0] - height))
    left = left // GRID * GRID
    top = max((top + ROWS_ABOVE) // GRID * GRID - ROWS_ABOVE, GRID - ROWS_ABOVE)
    top = min(top, (image.shape[0] - height + ROWS_ABOVE) // GRID * GRID - ROWS_ABOVE)
    window = (slice(top, top + height), slice(left, left + width))
    return {
        "windows": image[window], "origins": np.array([left, top]), "sides": corners[:, :2], "visible": mine[window],
        "light": side.lit(simulation.look, turned), "boxes": box, "distances": np.array(distance),
    }


@click.command()
@click.option("--scene", type=click.Choice([STOP, STANDING]), required=True)
@click.option("--count", type=click.IntRange(1), default=120, show_default=True, help="Looks.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .npz file to write.")
def main(scene: str, count: int, seed: int, out: Path) -> None:
    """Write looks at a scene of the demonstration."""
    import io

    found = looks(SCENES[scene], count, seed)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **found)  # type: ignore[arg-type]
    write_bytes(out, buffer.getvalue())
    click.echo(f"{out}: {count} looks", err=True)


if __name__ == "__main__":
    main()
