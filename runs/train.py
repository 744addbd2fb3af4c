"""Train as main.py does, without the table and the figure at the end.

python3 train.py --config-name=simclr_cifar10_sgd --config-path configs/
"""

from ssl_launch import launch

if __name__ == "__main__":
    launch(report=False)
