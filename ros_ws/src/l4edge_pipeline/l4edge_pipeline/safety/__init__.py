"""What the vehicle does about its own faults and about what the safety monitor says; docs/safety.md explains it."""
