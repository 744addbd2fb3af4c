"""``python3 -m ssl_launch``: the command ``stable-ssl``, e.g. for ``torchrun -m``."""

from ssl_launch.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
