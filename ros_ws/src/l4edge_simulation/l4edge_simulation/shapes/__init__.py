"""What objects are made of: procedural meshes and primitives, in metres. No renderer is needed here."""
