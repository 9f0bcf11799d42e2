"""Photos in, three splits of RGB images 0 to 255 and labels out."""
