"""`python -m bridge`: the command where the project is not installed, as on most platforms."""

from bridge.cli import main

main()
