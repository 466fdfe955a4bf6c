"""Why an item is recommended or not: contributions, counterfactuals, ranks, profile summary."""
