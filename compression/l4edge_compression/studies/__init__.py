"""Training runs whose results the documentation shows: every figure comes from a result file that a run wrote."""
