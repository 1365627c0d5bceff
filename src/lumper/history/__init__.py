"""What was and what is: the database behind builds, images, rollouts and people."""
