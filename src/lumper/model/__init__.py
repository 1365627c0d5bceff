"""The words of Lumper as plain frozen values, and the rules that need nothing but values."""
