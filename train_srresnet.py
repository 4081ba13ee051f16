"""Train SRResNet.

python3 train_srresnet.py --data_folder DIR --batch_size N --epochs N
"""

from srgan.cli.run import run_script
from srgan.cli.train import SRRESNET_CONFIG, srresnet

if __name__ == "__main__":
    run_script(srresnet, config=SRRESNET_CONFIG)
