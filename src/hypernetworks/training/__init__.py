"""What the experiments share: run folders, checkpoints, data files, progress."""
