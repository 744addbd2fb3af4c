"""Draw the views of a configuration as one picture: ``stable-ssl views`` as a script.

python3 show_views.py --config-name=simclr_cifar10_sgd
python3 show_views.py --config-name=simclr_cifar10_sgd data.views=byol data.size=64
"""

from ssl_launch.commands.views import show_views

if __name__ == "__main__":
    show_views()
