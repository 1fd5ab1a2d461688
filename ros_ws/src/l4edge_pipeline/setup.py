"""The ROS package: the nodes as executables for ``ros2 run`` and ``ros2 launch``.

Dependencies and the ``l4edge`` command belong to the distribution ``l4edge``, see pyproject.toml of the repository.
"""

from setuptools import find_packages, setup

NAME = "l4edge_pipeline"
NODES = ["sensing", "replaying", "detection", "tracking", "planning", "control", "timing_monitor", "recorder",
         "safety_monitor", "safety_supervisor", "offload"]

setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(),
    package_data={NAME + ".report": ["templates/*"], NAME + ".demonstration": ["textures/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + NAME]),
        ("share/" + NAME, ["package.xml"]),
    ],
    entry_points={"console_scripts": [f"{node} = {NAME}.nodes.{node}:main" for node in NODES]},
    zip_safe=False,
)
