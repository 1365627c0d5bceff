"""What went wrong in a build, in words that say what to do. Pure but for a look at the source's files."""
