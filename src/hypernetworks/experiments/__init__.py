"""What all experiments share: configuration, commands, comparisons."""
