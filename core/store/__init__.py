"""Redis: keys, client, scripts, and what every process does with them."""
