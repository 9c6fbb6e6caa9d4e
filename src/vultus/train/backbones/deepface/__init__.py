"""DeepFace's network, its locally connected layers and what it is shown."""
