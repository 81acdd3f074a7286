"""Reading images and label maps, and feeding them to a net."""
