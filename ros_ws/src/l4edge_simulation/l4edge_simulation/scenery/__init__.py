"""What stands beside the road, and the textures of everything."""
