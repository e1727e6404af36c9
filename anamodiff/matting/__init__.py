"""Cutting a character out of its ground, and setting it on another."""
