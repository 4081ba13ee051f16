"""Train SRGAN from an SRResNet, by default the newest one that train_srresnet.py has made.

python3 train_srgan.py --data_folder DIR --batch_size N --epochs N [--srresnet_ckpt CKPT]
"""

from srgan.cli.run import run_script
from srgan.cli.train import SRGAN_CONFIG, srgan

if __name__ == "__main__":
    run_script(srgan, config=SRGAN_CONFIG)
