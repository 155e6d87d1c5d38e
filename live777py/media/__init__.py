"""Media that is not WebRTC: the only part that imports av."""
