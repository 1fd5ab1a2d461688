"""Work for an accelerator in another process: who serves it, in which order, and who does it where nobody serves."""
