"""From an event to the messages that WeCom gets."""
