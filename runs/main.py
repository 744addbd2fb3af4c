"""Train a method of the package: ``stable-ssl train`` as a script.

python3 main.py                                                    # SimCLR on the embedded digits
python3 main.py --config-name=simclr_cifar10_sgd optim.lr=2      # a recipe of configs/, one key changed
"""

from ssl_launch import main

if __name__ == "__main__":
    main()
