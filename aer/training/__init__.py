"""Training a model with Catalyst: loop, loaders, callbacks, and what a run leaves in its folder."""
