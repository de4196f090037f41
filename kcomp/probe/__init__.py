"""Frozen features of a pretrained network, and probes that predict the labels from them."""
