"""Sprite sheets that ship with vizkit: data only."""
