"""`python -m ferops`, for launchers that start modules: torchrun."""

from ferops.cli import main

if __name__ == "__main__":
    main()
