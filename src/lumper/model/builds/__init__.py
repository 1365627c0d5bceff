"""Values and pure rules of builds."""
