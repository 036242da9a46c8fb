"""`python -m foreact`, as `accelerate launch -m foreact` needs it."""

from foreact.cli import main

if __name__ == "__main__":
    main()
