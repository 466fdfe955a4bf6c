"""Elements that the console's pages share."""
