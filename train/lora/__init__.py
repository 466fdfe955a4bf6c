"""LoRA fine-tuning: configuration, trainer, losses, checkpoints, distributed training, merging."""
