"""Uses: the occasions, tasks, places, people and needs that items serve, mined from descriptions and reviews."""
