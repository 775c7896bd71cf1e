"""All stored data: backup, restore, export, erasing."""
