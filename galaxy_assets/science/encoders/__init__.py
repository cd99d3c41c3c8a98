"""The network that turns an image into a vector: its architecture, where its weights come from, and embedding."""
