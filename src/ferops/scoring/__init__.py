"""`ferops score`: any model on any file of labelled images. Nothing is trained, nothing is written."""
