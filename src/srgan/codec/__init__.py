"""What `srgan.images` is made of; the rest of the project uses that module alone."""
