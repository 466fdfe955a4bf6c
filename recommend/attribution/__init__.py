"""Attribution: why an item is recommended or not, by contributions, ranks and counterfactuals; profile summaries."""
