"""Run an exported file, from an image to boxes. Nothing here needs PyTorch."""
