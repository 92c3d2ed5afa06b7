"""`python -m authz_server` is `authz`."""

from authz_server.cli import main

if __name__ == "__main__":
    main()
