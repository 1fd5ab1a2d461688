"""Recordings: read and write rosbag2, and read videos and image folders as if they were one.

No ROS installation is needed. ``reader.open_recording`` gives typed events, ``writer.BagWriter`` writes a bag,
``messages`` converts between the project's dataclasses and ROS messages.
"""
