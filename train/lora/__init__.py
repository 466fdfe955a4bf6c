"""LoRA fine-tuning: configuration, trainer, listwise loss, checkpoints, several processes, merging."""
