"""Static pictures of the category map: heat map and network, as SVG, PNG or HTML."""
