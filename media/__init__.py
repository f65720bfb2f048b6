"""Photos and videos in and out, and the face crop."""
