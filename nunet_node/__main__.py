"""``python -m nunet_node`` is the command line."""

from nunet_node.cli.main import main

if __name__ == "__main__":
    main()
