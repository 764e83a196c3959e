"""What is reached over HTTP: the receiver that Pgyer calls, and the checks of the platform."""
