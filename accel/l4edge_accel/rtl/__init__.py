"""SystemVerilog of the tile engines, and the tools that build, check and synthesize it."""
