"""Values to bytes and text and back; pure."""
