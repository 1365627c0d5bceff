"""Values and pure rules of people and their rights."""
