"""The Shakespeare experiment: character models, trained, compared and sampled."""
