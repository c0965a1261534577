"""Image quality as numbers: features of images, distances between them, and gates that say what could be lost."""
