"""How well a model does, and how sure one can be of it: metrics, intervals, protocols and reports."""
