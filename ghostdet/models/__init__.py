"""The networks: architecture table, blocks, backbones and Ghost convolutions."""
