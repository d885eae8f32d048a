"""Networks from the literature, one paper a file."""

from lamina.applications.resnet import CifarResNet as CifarResNet
