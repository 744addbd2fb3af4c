"""``python -m ssl_data``: the command ``ssl-data``."""

from ssl_data.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
