"""The graph channel: model, training, sampling, storage."""
