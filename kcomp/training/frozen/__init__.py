"""The frozen layers of a stage: separate them from the trained layers, compute their outputs, and cache the outputs."""
