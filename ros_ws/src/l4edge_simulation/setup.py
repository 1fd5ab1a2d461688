"""The ROS package; dependencies belong to the distribution ``l4edge``, see pyproject.toml of the repository."""

from setuptools import find_packages, setup

NAME = "l4edge_simulation"

setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + NAME]),
        ("share/" + NAME, ["package.xml"]),
    ],
    zip_safe=True,
)
