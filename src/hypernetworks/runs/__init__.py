"""Run folders: configuration, metrics, checkpoints, locks."""
