"""Tests of the linux room; those that need root and namespaces are marked `network`."""
