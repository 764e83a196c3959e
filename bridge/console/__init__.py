"""What is reached over HTTP beside the receiver: the checks of the platform, and the console."""
