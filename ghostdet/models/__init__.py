"""What the paper draws: table, blocks, backbone."""
