"""Training of face models: losses, heads, data, backbones, the loop and the export."""
