"""Videos, cameras and streams: frames, faces that keep their number, tables and drawings of them."""
