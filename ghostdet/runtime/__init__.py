"""What runs an exported file, from an image to boxes. Nothing here needs torch."""
