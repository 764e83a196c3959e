"""Temporary."""

from bridge.receiving.decoding import KNOWN_TYPES as KNOWN_TYPES
