"""The start scripts of the embedded engines: links to those of the images, so that there is one of each."""
