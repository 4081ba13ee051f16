"""`srgan serve`: a web page and an HTTP service over one bounded queue of pictures."""
