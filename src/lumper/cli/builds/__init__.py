"""Commands for builds."""
