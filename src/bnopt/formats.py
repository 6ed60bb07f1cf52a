"""What is read of a folder of images: files with these suffixes, and one that says where they are from."""

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
SOURCE = "SOURCE.txt"
