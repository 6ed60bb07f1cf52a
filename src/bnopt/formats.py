"""What is read of a folder of images: in its parts files with these suffixes, and what says its source."""

PARTS = ("train", "test")
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
SOURCE = "SOURCE.txt"
