"""From a folder, or any mmseg config, to configs that train."""
