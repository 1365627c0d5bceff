"""Configuration, and the layout of the data folder."""
