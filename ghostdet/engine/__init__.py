"""What happens before, during and after a run."""
