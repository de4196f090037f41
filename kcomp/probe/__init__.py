"""Features from a frozen pretrained network, and models that predict the labels from them (probes)."""
