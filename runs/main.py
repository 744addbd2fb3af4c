"""Train one of our methods; the table and the figure of the run come last.

python3 main.py                                                    # SimCLR on the embedded digits
python3 main.py --config-name=simclr_cifar10_sgd ++optim.lr=2      # a file of configs/, one key changed
"""

from ssl_launch import main

if __name__ == "__main__":
    main()
