"""Inner modules of torchair that code imports."""
