"""The parts that can run as processes of their own."""
