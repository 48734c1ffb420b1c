"""The training loop: schedule, batches, progress, interruption."""
