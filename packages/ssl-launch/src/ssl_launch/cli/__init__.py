"""The stable-ssl command and the subcommands that need no Hydra."""
