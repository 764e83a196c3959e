"""From a due delivery to WeCom's answer."""
