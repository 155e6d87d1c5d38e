"""The domain: streams, sessions and every verb that a caller has."""
